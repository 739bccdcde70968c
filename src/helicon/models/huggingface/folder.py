"""The folder of a model: what is in it, how it is written, and how it is read.

Reading is strict: a folder that lacks a file, a key of its configuration or a weight is refused
with one line, never filled up with defaults or random numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from helicon.errors import InputError
from helicon.files import existing_file, write_aside
from helicon.models.huggingface.card import ModelCard, card_text
from helicon.models.huggingface.classes import (
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconModel,
    HeliconPreTrainedModel,
)
from helicon.models.huggingface.contacts import HeliconForContacts
from helicon.models.huggingface.tokenizer import alphabet_tokenizer

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
#: Every file that `save` writes.
FILES = frozenset({CONFIG, WEIGHTS, CARD, "tokenizer.json", "tokenizer_config.json"})

CLASSES: dict[str, type[HeliconPreTrainedModel]] = {
    cls.__name__: cls
    for cls in (
        HeliconModel,
        HeliconForMaskedLM,
        HeliconForSequenceClassification,
        HeliconForTokenClassification,
        HeliconForContacts,
    )
}


def save(model: HeliconPreTrainedModel, folder: str | Path, card: ModelCard | None = None) -> Path:
    """Write a model folder: configuration, weights, tokenizer and model card.

    The folder is written aside and renamed; a model folder that stands there is replaced.

    Args:
        model: the model.
        folder: where to write.
        card: what the card says beyond what the model itself tells.

    Returns:
        The folder's path.

    Raises:
        InputError: the folder holds other files, or cannot be written.
        WorkError: the disk is full.
    """
    folder = Path(folder)
    if folder.is_dir():
        others = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if others := [name for name in others if name not in FILES]:
            raise InputError(f"{folder}: holds other files ({others[0]}); choose a new folder")
    with write_aside(folder) as aside:
        aside.mkdir()
        _write_weights(model, aside)
        alphabet_tokenizer(model.backbone.alphabet).save_pretrained(aside)
        (aside / CARD).write_text(card_text(model, card or ModelCard()), encoding="utf-8")
    return folder


def _write_weights(model: HeliconPreTrainedModel, folder: Path) -> None:
    """What `model.save_pretrained` writes, in one file and without its progress bar."""
    model.config.architectures = [type(model).__name__]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def load_folder(folder: Path) -> HeliconPreTrainedModel:
    """Open a model folder as the class that it was saved as, in evaluation mode.

    Raises:
        InputError: the folder is incomplete or damaged; names the file.
    """
    config, cls = read_config(folder)
    weights = _present(folder, WEIGHTS)
    try:
        state = load_file(weights)
    except (SafetensorError, ValueError) as error:
        raise InputError(
            f"{weights}: damaged ({one_line(error)}); copy or fetch it again"
        ) from error
    with torch.device("meta"):
        model = cls(config)
    _check_weights(weights, model.state_dict(), state)
    model.load_state_dict(state, assign=True)
    model.name_or_path = config.name_or_path = str(folder)
    return model.eval()


def _present(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        raise InputError(f"{folder}: {name} is missing; copy the whole model folder again")
    return existing_file(folder / name)


def read_config(folder: Path) -> tuple[HeliconConfig, type[HeliconPreTrainedModel]]:
    """The configuration, and the class that the folder was saved as."""
    path = _present(folder, CONFIG)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({one_line(error)}); copy it again") from error
    if not isinstance(values, dict) or "model_type" not in values:
        raise InputError(f"{path}: model_type is missing: this is no model's configuration")
    if values["model_type"] != HeliconConfig.model_type:
        raise InputError(f"{path}: holds a {values['model_type']!r} model, not one of Helicon's")
    for key in ("architecture", "backbone", "architectures"):
        if key not in values:
            raise InputError(f"{path}: {key} is missing; copy the file again")
    names = values["architectures"]
    if not isinstance(names, list) or len(names) != 1 or names[0] not in CLASSES:
        raise InputError(f"{path}: architectures must name one of {', '.join(CLASSES)}")
    try:
        return HeliconConfig.from_dict(values), CLASSES[names[0]]
    except (InputError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: {one_line(error)}") from error


def _check_weights(path: Path, wanted: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    """Refuse weights that are not exactly the model's."""
    advice = "the file does not belong to this config.json"
    if missing := [key for key in wanted if key not in state]:
        raise InputError(f"{path}: lacks {_some(missing)}; {advice}")
    if unknown := [key for key in state if key not in wanted]:
        raise InputError(f"{path}: holds unknown {_some(unknown)}; {advice}")
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            raise InputError(f"{path}: {key} has shape {shapes}; {advice}")


def _some(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"


def one_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())
