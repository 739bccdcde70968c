"""Published checkpoints to model folders.

The layout of each published code stands in a file of its own: `official_convnova`,
`official_carp`, `official_findna`. A file tells by its keys whose it is. Checkpoints are read with
`weights_only=True`: no code in them is ever run.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor

from helicon.errors import InputError
from helicon.files import existing_file
from helicon.models.bytenet import published as official_carp
from helicon.models.chordmixer import published as official_findna
from helicon.models.convnova import published as official_convnova
from helicon.models.huggingface.card import ModelCard
from helicon.models.huggingface.classes import HeliconPreTrainedModel
from helicon.models.huggingface.folder import save
from helicon.models.parts.heads import Problem
from helicon.models.registry import BackboneConfig

Source = Literal["convnova", "carp", "findna"]

#: Where each code's layout is described.
_LAYOUTS: dict[Source, ModuleType] = {
    "convnova": official_convnova,
    "carp": official_carp,
    "findna": official_findna,
}

#: Packages whose objects Lightning stores beside the weights (settings); read as empty shells.
_SETTINGS = ("omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "typing.")
#: Plain containers and numbers that those objects hold; to make one runs no code of the file's.
_PLAIN = (bool, int, float, str, list, dict, defaultdict)

#: Missing weights that a message names.
_NAMED = 5


@dataclass(frozen=True)
class ConversionReport:
    """What was read and what was left.

    Attributes:
        folder: the model folder that was written.
        source: the code that the checkpoint comes from.
        model_class: the class that opens it.
        config: the backbone's config.
        used: keys of the checkpoint that became weights.
        unused: keys of the checkpoint that the model has no place for. (A weight that the model
            needs and the checkpoint lacks is an error, never a random number.)
    """

    folder: Path
    source: Source
    model_class: str
    config: BackboneConfig
    used: tuple[str, ...]
    unused: tuple[str, ...]


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    source: Source | None = None,
    dilation: int | None = None,
    stacks: int | None = None,
    schedule: Literal["official", "paper"] | None = None,
    problem: Problem | None = None,
    network: official_findna.Network | None = None,
    group: int | None = None,
) -> ConversionReport:
    """Write a published checkpoint as a model folder.

    ConvNova: the folder holds a sequence classifier where the checkpoint has a fine-tuned head,
    else a masked language model where it has that head, else the backbone alone. The mask symbol
    is read as N, as the official code does. CARP: a masked language model; everything is read from
    the file. FinDNA: one of its two networks, a masked language model where it has that head.

    Args:
        checkpoint: ConvNova's Lightning `.ckpt`, or the `.pt` of CARP or FinDNA.
        out: the model folder to write.
        source: the code that the checkpoint comes from; if not given, the file tells.
        dilation: ConvNova: base of the dilation schedule (4 in the published runs).
        stacks: ConvNova: how often each dilation is repeated, consecutively (1 in the published
            runs).
        schedule: ConvNova: the dilation schedule; published code runs `official`, the default.
        problem: ConvNova: what the fine-tuned head solves, where there is one; `single_label` if
            not given.
        network: FinDNA: which of its two networks; the teacher if not given, as its authors use.
        group: FinDNA: channels of a group, where the number of blocks does not tell.

    Raises:
        InputError: the file is no such checkpoint, lacks weights, or an argument is missing or has
            no place; names the file and the argument.
    """
    path = existing_file(checkpoint, "checkpoint")
    content = _read(path)
    found = _source_of(path, content, source)
    layout = _LAYOUTS[found]
    convnova = official_convnova.Told(dilation, stacks, schedule, problem)
    findna = official_findna.Told(network, group)
    _refuse_options(path, found, {"convnova": vars(convnova), "findna": vars(findna)})
    state = _weights(path, content, findna.state if found == "findna" else layout.STATE)
    if found == "findna":
        state = official_findna.in_our_order(state)
    names = {k: name for k in state if (name := _renamed(k, layout.RENAMED)) is not None}
    if not any(name.startswith("backbone.") for name in names.values()):
        raise InputError(f"{path}: holds no weights of a {found} network; give the right file")
    weights = {name: state[key] for key, name in names.items()}
    if found == "carp":
        model: HeliconPreTrainedModel = official_carp.network(path, content)
    elif found == "findna":
        model = official_findna.network(path, weights, findna)
    else:
        model = official_convnova.network(path, weights, convnova)
    wanted = model.state_dict()
    used = {key: name for key, name in names.items() if name in wanted}
    model.load_state_dict(_fitted(path, wanted, state, used), assign=True)
    card = ModelCard(
        name=f"{layout.TITLE}, converted from {path.name}",
        summary=layout.SUMMARY + (findna.which if found == "findna" else ""),
        base_model=path.name,
    )
    return ConversionReport(
        folder=save(model, out, card),
        source=found,
        model_class=type(model).__name__,
        config=model.config.backbone_config,
        used=tuple(used),
        unused=tuple(key for key in state if key not in used),
    )


def _read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds: tensors, numbers and text; settings objects are passed over."""
    try:
        with _settings_as_shells(path):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # arbitrary bytes fail in arbitrary ways
        if "Unsupported" in str(error) or "Weights only load failed" in str(error):
            raise InputError(
                f"{path}: holds code or objects beside tensors and settings, which are not read"
            ) from error
        raise InputError(
            f"{path}: is no PyTorch checkpoint, or it is damaged; fetch it again"
        ) from error
    return content if isinstance(content, dict) else {}


def _source_of(path: Path, content: Mapping[str, Any], told: Source | None) -> Source:
    """The code that a checkpoint comes from, by the key of its weights."""
    for source, layout in _LAYOUTS.items():
        if isinstance(content.get(layout.STATE), dict):
            if told not in (None, source):
                raise InputError(
                    f"{path}: is a checkpoint of {source}, not of {told}: its weights are under "
                    f"{layout.STATE}; leave out --source"
                )
            return source
    keys = " or ".join(f"{layout.STATE} ({source})" for source, layout in _LAYOUTS.items())
    raise InputError(f"{path}: has no {keys}: not a published checkpoint that is read")


def _refuse_options(
    path: Path, source: Source, given: Mapping[Source, Mapping[str, object]]
) -> None:
    """Options belong to one code each; CARP's file says everything itself."""
    why = "which tells everything" if source == "carp" else "which knows no such option"
    for other, options in given.items():
        if other != source and (told := [name for name, v in options.items() if v is not None]):
            raise InputError(f"{path}: is a checkpoint of {source}, {why}; leave out --{told[0]}")


def _weights(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    """The tensors under a key of the file."""
    if not isinstance(content.get(key), dict):
        raise InputError(f"{path}: holds no network {key}; fetch it again, or take the other")
    return {str(name): value for name, value in content[key].items() if isinstance(value, Tensor)}


class _Shell:
    """Stands for an object of a settings library; takes any state and keeps nothing."""

    def __new__(cls, *_: object) -> _Shell:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


@contextlib.contextmanager
def _settings_as_shells(path: Path) -> Iterator[None]:
    """Let the safe reader pass over settings objects (Lightning keeps the run's in the file)."""
    shells: list[Any] = list(_PLAIN)
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(str(path)):
        if name.startswith(_SETTINGS):
            module, _, qualname = name.rpartition(".")
            shells.append(
                type(qualname, (_Shell,), {"__module__": module, "__qualname__": qualname})
            )
    with torch.serialization.safe_globals(shells):
        yield


def _renamed(key: str, patterns: tuple[tuple[str, str], ...]) -> str | None:
    """Our name of an official key, or `None` for what is no weight of the network."""
    module, _, kind = key.rpartition(".")
    if kind not in ("weight", "bias"):
        return None
    for pattern, ours in patterns:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(ours)}.{kind}"
    return None


def _fitted(
    path: Path, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], used: Mapping[str, str]
) -> dict[str, Tensor]:
    """The weights under our names and in our shapes, in float32.

    Raises:
        InputError: weights are missing, or have other shapes.
    """
    if missing := [name for name in wanted if name not in used.values()]:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        said = ", ".join(missing[:_NAMED]) + more
        raise InputError(f"{path}: incomplete: has no weights for {said}")
    fitted = {}
    for key, name in used.items():
        expected, value = wanted[name].shape, state[key]
        if len(expected) == 2 and value.shape == (*expected, 1):
            value = value.squeeze(-1)  # a convolution of width one is a linear layer
        if value.shape != expected:
            raise InputError(f"{path}: {key} has shape {tuple(value.shape)}, not {tuple(expected)}")
        fitted[name] = value.float().clone()
    return fitted
