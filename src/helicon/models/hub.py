"""Model folders: saving, loading by path or name, and new heads on pretrained backbones.

Loading is strict: a folder that lacks a file, a key of its configuration or a weight is refused
with one line, never filled up with defaults or random numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from helicon.errors import InputError
from helicon.files import existing_file, write_aside
from helicon.models.card import Metric, ModelCard, card_text
from helicon.models.heads import HeadKind, Pooling, Problem
from helicon.models.huggingface import (
    PROBLEM_TYPES,
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconModel,
    HeliconPreTrainedModel,
)
from helicon.models.registry import SIZES, unknown_size
from helicon.models.tokenizer import alphabet_tokenizer, dna_tokenizer

__all__ = [
    "HeadReport",
    "HeliconConfig",
    "HeliconForMaskedLM",
    "HeliconForSequenceClassification",
    "HeliconForTokenClassification",
    "HeliconModel",
    "HeliconPreTrainedModel",
    "Metric",
    "ModelCard",
    "dna_tokenizer",
    "load",
    "save",
    "with_head",
]

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
    )
}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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


def load(path_or_name: str | Path) -> HeliconPreTrainedModel:
    """Open a model, in evaluation mode.

    Args:
        path_or_name: looked up in this order: a named size (a masked language model with new
            weights, drawn from torch's global generator), a run folder (its `model`), a model
            folder (the class that it was saved as), a Hugging Face id (`owner/name`).

    Raises:
        InputError: there is no such model, or its folder is incomplete or damaged; names the file.
    """
    name = str(path_or_name)
    if name in SIZES:
        return HeliconForMaskedLM(HeliconConfig.of(SIZES[name])).eval()
    path = Path(path_or_name)
    if path.is_dir():
        return _load_folder(_model_folder(path))
    if path.exists():
        raise InputError(
            f"{path}: is a file, a model is a folder; `helicon convert` reads published checkpoints"
        )
    named = isinstance(path_or_name, str) and _HUB_ID.fullmatch(name)
    if named and not path.parent.exists():  # `runs/mistyped` is no reason to ask the network
        return _load_folder(_fetched(name))
    if "/" in name or "\\" in name:
        raise InputError(f"{path}: no such model folder; check the path")
    raise unknown_size(name)


def _model_folder(path: Path) -> Path:
    """The model folder that `path` is, or that it holds if it is a run folder."""
    if (path / CONFIG).exists():
        return path
    if (path / "model").is_dir():
        return path / "model"
    if (path / "recipe.toml").exists():
        raise InputError(f"{path}: this run has no model yet; let it end, or resume it")
    if (path / WEIGHTS).exists():
        raise InputError(f"{path}: {CONFIG} is missing; copy the whole model folder again")
    raise InputError(f"{path}: holds neither a model nor a run ({CONFIG} is missing)")


def _load_folder(folder: Path) -> HeliconPreTrainedModel:
    config, cls = _read_config(folder)
    weights = _present(folder, WEIGHTS)
    try:
        state = load_file(weights)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{weights}: damaged ({_line(error)}); copy or fetch it again") from error
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


def _read_config(folder: Path) -> tuple[HeliconConfig, type[HeliconPreTrainedModel]]:
    """The configuration, and the class that the folder was saved as."""
    path = _present(folder, CONFIG)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({_line(error)}); copy it again") from error
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
        raise InputError(f"{path}: {_line(error)}") from error


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


def _line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


def _fetched(name: str) -> Path:
    """The local folder of a Hugging Face id, fetched if it is not in the cache."""
    try:
        config = Path(hf_hub_download(name, CONFIG))
        _read_config(config.parent)
        hf_hub_download(name, WEIGHTS)
    except RepositoryNotFoundError as error:
        raise InputError(f"{name}: no such folder, nor public Hugging Face model") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{name}: no such folder here, and Hugging Face cannot be reached for a model of that "
            "name; check the path or the connection"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"{name}: this Hugging Face model has no {CONFIG} or {WEIGHTS}") from error
    except OSError as error:
        raise InputError(f"{name}: could not be fetched ({_line(error)})") from error
    return config.parent


@dataclass(frozen=True)
class HeadReport:
    """What became of the weights when a head was put on a backbone.

    Attributes:
        unused: weights of the source model that the new one has no place for (its old head).
        new: weights of the new model that start from random numbers (its head).
    """

    unused: tuple[str, ...]
    new: tuple[str, ...]


def with_head(
    source: HeliconPreTrainedModel | str | Path,
    task: Literal["sequence", "token"],
    problem: Problem,
    labels: Sequence[str] | int,
    *,
    pool: Pooling = "mean",
    head: HeadKind = "linear",
    dropout: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[HeliconForSequenceClassification | HeliconForTokenClassification, HeadReport]:
    """Put a new head on a copy of a pretrained backbone; the backbone is kept whole.

    Args:
        source: a model, or what `load` takes.
        task: one output row a `sequence`, or one a `token`.
        problem: `single_label`, `multi_label` or `regression`.
        labels: names of the classes, labels or targets in id order, or how many there are.
        pool: how a sequence head pools positions.
        head: `linear` or `mlp`.
        dropout: probability, before each linear layer of the head.
        class_weights: one a label (see `heads.task_loss`).

    Returns:
        The model, in training mode, and which weights were left out or are new.

    Raises:
        InputError: there is no such model, or the labels do not fit the problem.
    """
    model = source if isinstance(source, HeliconPreTrainedModel) else load(source)
    names = [f"LABEL_{i}" for i in range(labels)] if isinstance(labels, int) else list(labels)
    if len(names) < (2 if problem == "single_label" else 1):
        raise InputError(f"{len(names)} label: {problem} needs more; check the label column")
    config = HeliconConfig(
        architecture=model.config.architecture,
        backbone=model.config.backbone,
        pool=pool,
        head=head,
        head_dropout=dropout,
        class_weights=None if class_weights is None else [float(w) for w in class_weights],
        problem_type=PROBLEM_TYPES[problem],
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    cls = HeliconForSequenceClassification if task == "sequence" else HeliconForTokenClassification
    new = cls(config)
    new.backbone.load_state_dict(model.backbone.state_dict())
    return new.train(), HeadReport(unused=_head_keys(model), new=_head_keys(new))


def _head_keys(model: HeliconPreTrainedModel) -> tuple[str, ...]:
    return tuple(key for key in model.state_dict() if not key.startswith("backbone."))
