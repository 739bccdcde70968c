"""The folder of a model: what is in it, how it is written, and how it is read.

Reading is strict: a folder that lacks a file, a key of its configuration or a weight is refused
with one line, never filled up with defaults or random numbers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from helicon.errors import InputError
from helicon.files import existing_file, sha256, write_aside
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
#: Of weights in shards: which file holds which.
INDEX = "model.safetensors.index.json"
#: Of an adapter that PEFT wrote, without the model that it belongs to.
ADAPTER = "adapter_config.json"
#: A number in a configuration may be as large as this, however few the weights are: a length.
LARGEST = 2**24
#: Modules for each tensor, at most, of a network: most have two tensors, some none.
MODULES = 8
#: Every file that `save` writes.
FILES = frozenset({CONFIG, WEIGHTS, CARD, "tokenizer.json", "tokenizer_config.json"})
#: What a system puts into folders that people look at.
_UNHEEDED = {".DS_Store"}

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
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := sorted(there - {*FILES, *_UNHEEDED}):
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
    """Open a model folder as the class that it was saved as, in float32 and evaluation mode.

    Nothing in the folder is ever run. What the configuration declares is held against the headers
    of the weights before anything is built.

    Raises:
        InputError: the folder is incomplete, damaged or no model's; names the file. It holds an
            adapter of PEFT.
    """
    if (folder / ADAPTER).exists():
        raise InputError(
            f"{folder}: holds an adapter of PEFT ({ADAPTER}), not a whole model; merge it first, "
            f"PeftModel.from_pretrained(MODEL, {str(folder)!r}).merge_and_unload()"
            ".save_pretrained('OUT'), and use OUT"
        )
    files = weight_files(folder)
    model = _described(folder, files[0], _shapes(files))
    state: dict[str, torch.Tensor] = {}
    for path in files:
        with _opened(path):
            state |= load_file(path)
    return _with_weights(model, folder, files[0], state)


def load_pickled(path: Path, state: dict[str, torch.Tensor]) -> HeliconPreTrainedModel:
    """The model of the folder that a pickled file of weights stands in.

    Args:
        path: the file.
        state: the tensors that were read from it.

    Raises:
        InputError: see `load_folder`.
    """
    model = _described(path.parent, path, {key: value.shape for key, value in state.items()})
    return _with_weights(model, path.parent, path, state)


def _described(
    folder: Path, weights: Path, shapes: dict[str, torch.Size]
) -> HeliconPreTrainedModel:
    """The model that `config.json` describes, without memory, if weights have these shapes."""
    values, path = read_values(folder), folder / CONFIG
    _check_sizes(path, values, shapes)
    config, cls = _config_of(path, values)
    model = _without_values(path, config, cls, len(shapes))
    _check_weights(weights, {k: v.shape for k, v in model.state_dict().items()}, shapes)
    return model


def _with_weights(
    model: HeliconPreTrainedModel, folder: Path, path: Path, state: dict[str, torch.Tensor]
) -> HeliconPreTrainedModel:
    config = model.config
    model.load_state_dict(_float32(path, state, model.state_dict()), assign=True)
    model.name_or_path = config.name_or_path = str(folder)
    if config.problem_type is None and hasattr(model, "classifier"):
        config.problem_type = "regression" if len(config.labels) == 1 else _CLASSES
    return model.eval()


#: What the library takes several outputs for, where nobody has said what they are.
_CLASSES: Literal["single_label_classification"] = "single_label_classification"


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder, which is no link to somewhere else.

    Raises:
        InputError: it is missing, empty, or a link out of the folder.
    """
    path = folder / name
    if not path.exists():
        raise InputError(f"{folder}: {name} is missing; copy the whole model folder again")
    home = folder.resolve()
    if home.parent.name == "snapshots":  # Hugging Face's cache keeps contents beside the snapshots
        home = home.parent.parent
    if not path.resolve().is_relative_to(home):
        raise InputError(f"{path}: is a link out of the model's folder; put the file itself here")
    return existing_file(path)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: one, or the shards that an index names.

    Raises:
        InputError: one is missing or leads out of the folder, or the weights are pickled.
    """
    if (folder / WEIGHTS).exists():
        return [_inside(folder, WEIGHTS)]
    if not (folder / INDEX).exists():
        if pickled := sorted(folder.glob("pytorch_model*.bin")):
            raise InputError(
                f"{folder}: its weights are pickled ({pickled[0].name}), which is never read as a "
                f"model; run `helicon convert {shlex.quote(str(pickled[0]))} OUT` and use OUT"
            )
        return [_inside(folder, WEIGHTS)]
    return [_inside(folder, name) for name in shard_names(folder)]


def weights_hash(folder: str | Path | None) -> str | None:
    """SHA-256 of a model's weights: of their file, or of the names and hashes of their shards.

    Args:
        folder: of the model; empty or `None` for a model that was never read from one.

    Returns:
        In hexadecimal digits; `None` where there are no weights.

    Raises:
        InputError: a shard is missing; see `weight_files`.
    """
    if not folder or not any(Path(folder, name).exists() for name in (WEIGHTS, INDEX)):
        return None
    files = weight_files(Path(folder))
    if len(files) == 1:
        return sha256(files[0])
    told = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(told.encode()).hexdigest()


def shard_names(folder: Path) -> list[str]:
    """Names of the files that the index of weights in shards tells.

    Raises:
        InputError: the index is damaged, or names something outside of the folder.
    """
    path = _inside(folder, INDEX)
    shards = _json(path).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: weight_map names no files; copy the file again")
    if wrong := [name for name in names if Path(name).name != name or "\\" in name]:
        raise InputError(f"{path}: names {wrong[0]!r}, which is no file of this folder")
    return sorted(set(names))


def _shapes(files: Sequence[Path]) -> dict[str, torch.Size]:
    """Shapes of all weights, from the headers of their files alone."""
    found: dict[str, torch.Size] = {}
    for path in files:
        with _opened(path) as file:
            keys = file.keys()
            shapes = {key: torch.Size(file.get_slice(key).get_shape()) for key in keys}
        if twice := found.keys() & shapes.keys():
            raise InputError(f"{path}: holds {min(twice)}, and so does another shard")
        found |= shapes
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: damaged ({one_line(error)}); copy or fetch it again") from error


def _float32(
    path: Path, state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights, in float32 whatever they are stored in."""
    stored = set()
    for key, value in state.items():
        if value.is_floating_point() != wanted[key].is_floating_point():
            raise InputError(f"{path}: {key} is {_name(value)}, not {_name(wanted[key])}")
        if value.is_floating_point():
            stored.add(_name(value))
            state[key] = value.float()
            if not state[key].isfinite().all():
                raise InputError(
                    f"{path}: {key} holds values that are no finite numbers; the training that "
                    "wrote it failed, so take an earlier model"
                )
    if others := sorted(stored - {"float32"}):
        said = f"{path.parent}: weights stored in {', '.join(others)} are read as float32"
        print(said, file=sys.stderr, flush=True)
    return state


def _name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def read_values(folder: Path) -> dict[str, Any]:
    """What `config.json` holds, if it is that of one of Helicon's models."""
    path = _inside(folder, CONFIG)
    values = _json(path)
    if "model_type" not in values:
        raise InputError(f"{path}: model_type is missing: this is no model's configuration")
    if values["model_type"] != HeliconConfig.model_type:
        raise InputError(f"{path}: holds a {values['model_type']!r} model, not one of Helicon's")
    for key in ("architecture", "backbone", "architectures"):
        if key not in values:
            raise InputError(f"{path}: {key} is missing; copy the file again")
    names = values["architectures"]
    if not isinstance(names, list) or len(names) != 1 or names[0] not in list(CLASSES):
        raise InputError(f"{path}: architectures must name one of {', '.join(CLASSES)}")
    return values


def _json(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty for anything else that JSON can hold."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply; copy it again") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({one_line(error)}); copy it again") from error
    return values if isinstance(values, dict) else {}


def _config_of(
    path: Path, values: dict[str, Any]
) -> tuple[HeliconConfig, type[HeliconPreTrainedModel]]:
    """The configuration, and the class that the folder was saved as."""
    try:
        return HeliconConfig.from_dict(values), CLASSES[values["architectures"][0]]
    except Exception as error:  # a stranger's values fail in arbitrary ways
        raise InputError(f"{path}: {one_line(error)}") from error


def _check_sizes(path: Path, values: dict[str, Any], shapes: dict[str, torch.Size]) -> None:
    """Refuse numbers that no network with these weights can have, before anything is made of them.

    A number of the configuration counts something that has weights, or positions.
    """
    most = max(LARGEST, *(shape.numel() for shape in shapes.values()), 0)
    declared = [("", values), ("backbone.", values["backbone"])]
    for prefix, some in declared:
        for key, value in some.items() if isinstance(some, dict) else ():
            if isinstance(value, int | float) and abs(value) > most:
                raise InputError(
                    f"{path}: {prefix}{key} is {value:g}, more than its weights file has room for"
                )


def _without_values(
    path: Path, config: HeliconConfig, cls: type[HeliconPreTrainedModel], tensors: int
) -> HeliconPreTrainedModel:
    """The model without memory; one with far more tensors than the file is not finished."""
    advice = "it does not belong to the weights beside it"
    made = modules = 0

    def count(module: nn.Module, name: str, what: object) -> None:
        nonlocal made, modules
        made += isinstance(what, torch.Tensor)
        modules += isinstance(what, nn.Module)  # a copied one brings its tensors uncounted
        if made > 2 * tensors or modules > MODULES * (tensors + 1):
            raise InputError(
                f"{path}: describes a far larger network than the {tensors} tensors of its "
                f"weights; {advice}"
            )

    handles = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
        register_module_module_registration_hook(count),
    ]
    try:
        with torch.device("meta"):
            return cls(config)
    except (RuntimeError, OverflowError, MemoryError, TypeError, ValueError) as error:
        raise InputError(f"{path}: describes no network ({one_line(error)}); {advice}") from error
    finally:
        for handle in handles:
            handle.remove()


def _check_weights(path: Path, wanted: dict[str, torch.Size], found: dict[str, torch.Size]) -> None:
    """Refuse weights that are not exactly the model's."""
    advice = "the file does not belong to this config.json"
    if missing := [key for key in wanted if key not in found]:
        raise InputError(f"{path}: lacks {_some(missing)}; {advice}")
    if unknown := [key for key in found if key not in wanted]:
        raise InputError(f"{path}: holds unknown {_some(unknown)}; {advice}")
    for key, shape in found.items():
        if shape != wanted[key]:
            shapes = f"{tuple(shape)}, not {tuple(wanted[key])}"
            raise InputError(f"{path}: {key} has shape {shapes}; {advice}")


def _some(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"


def one_line(error: Exception) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())
