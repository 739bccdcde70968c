"""Published checkpoints to model folders.

The layout of each published code is an object of its family (`helicon.models.parts.layout`), known
by the names of its tensors. Checkpoints are read with `weights_only=True`: no code in them is ever
run.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from helicon.errors import InputError
from helicon.files import existing_file
from helicon.models.huggingface.card import ModelCard
from helicon.models.huggingface.classes import PROBLEM_TYPES, HeliconConfig, HeliconPreTrainedModel
from helicon.models.huggingface.folder import CLASSES, CONFIG, load_pickled, save
from helicon.models.parts.heads import Problem
from helicon.models.parts.layout import Layout, NetworkName, Opened, Told
from helicon.models.registry import BackboneConfig, layouts

#: Packages whose objects Lightning stores beside the weights (settings); read as empty shells.
_SETTINGS = ("omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "typing.")
#: Plain containers and numbers that those objects hold; to make one runs no code of the file's.
_PLAIN = (bool, int, float, str, list, dict, defaultdict)

#: Weights that a message names.
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
        unused: keys of the checkpoint that the layout knows to be no weights of this model. (Any
            other, and a weight that the model needs and the checkpoint lacks, is an error.)
    """

    folder: Path
    source: str
    model_class: str
    config: BackboneConfig
    used: tuple[str, ...]
    unused: tuple[str, ...]


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    source: str | None = None,
    dilation: int | None = None,
    stacks: int | None = None,
    schedule: Literal["official", "paper"] | None = None,
    problem: Problem | None = None,
    network: NetworkName | None = None,
    group: int | None = None,
) -> ConversionReport:
    """Write a published checkpoint as a model folder.

    ConvNova: the folder holds a sequence classifier where the checkpoint has a fine-tuned head,
    else a masked language model where it has that head, else the backbone alone. The mask symbol
    is read as N, as the official code does. CARP: a masked language model; everything is read from
    the file. FinDNA: one of its two networks, a masked language model where it has that head.

    Args:
        checkpoint: ConvNova's Lightning `.ckpt`, the `.pt` of CARP or FinDNA, or the
            `pytorch_model.bin` of a Helicon folder whose weights are pickled.
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
    told = Told(dilation, stacks, schedule, problem, network, group)
    if _is_our_own(path, content):
        return _rewritten(path, content, out, source, told)
    layout = _layout_of(path, content, source)
    _refuse_options(path, layout, told)
    state = layout.tensors(path, content, told)
    names = {key: name for key in state if (name := layout.our_name(key)) is not None}
    if not any(name.startswith("backbone.") for name in names.values()):
        raise InputError(
            f"{path}: holds no weights of a {layout.name} network; give the right file"
        )
    weights = {name: state[key] for key, name in names.items()}
    opened = Opened(path, content, told, weights)
    model = _without_values(layout, opened)
    wanted = model.state_dict()
    used = {key: name for key, name in names.items() if name in wanted}
    unused = tuple(key for key in state if key not in used)
    _refuse_unknown(path, layout, [key for key in unused if key not in names])
    model.load_state_dict(_fitted(path, wanted, state, used), assign=True)
    card = ModelCard(
        name=f"{layout.title}, converted from {path.name}",
        summary=layout.about(told),
        base_model=path.name,
    )
    return ConversionReport(
        folder=save(model, out, card),
        source=layout.name,
        model_class=type(model).__name__,
        config=model.config.backbone_config,
        used=tuple(used),
        unused=unused,
    )


def _is_our_own(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether a file holds the weights of one of Helicon's own folders, pickled."""
    named = any(str(key).startswith("backbone.") for key in content)
    return named and (path.parent / CONFIG).exists()


def _rewritten(
    path: Path, content: Mapping[str, Any], out: str | Path, source: str | None, told: Told
) -> ConversionReport:
    """Write the model of a folder whose weights are pickled; nothing has to be told."""
    given = [name for name, value in dataclasses.asdict(told).items() if value is not None]
    if source is not None or given:
        option = given[0] if given else "source"
        raise InputError(f"{path}: its config.json tells everything; leave out --{option}")
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    model = load_pickled(path, state)
    return ConversionReport(
        folder=save(model, out, ModelCard(name=path.parent.name, base_model=path.name)),
        source="helicon",
        model_class=type(model).__name__,
        config=model.config.backbone_config,
        used=tuple(state),
        unused=(),
    )


def _without_values(layout: Layout, opened: Opened) -> HeliconPreTrainedModel:
    """The model that the weights' heads ask for, without memory."""
    weights, told = opened.weights, opened.told
    settings = HeliconConfig.of(layout.config(opened))
    name = "HeliconModel"
    if layout.language or any(key.startswith("lm_head.") for key in weights):
        name = "HeliconForMaskedLM"
    head = weights.get("classifier.layers.1.weight")
    if head is not None:
        problem = told.problem or "single_label"
        name = "HeliconForSequenceClassification"
        settings.num_labels = len(head)
        settings.problem_type = PROBLEM_TYPES[problem]
        if settings.num_labels == 1 and problem == "single_label":
            raise InputError(f"{opened.path}: its head has one output; give --problem regression")
    with torch.device("meta"):
        return CLASSES[name](settings)


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


def _layout_of(path: Path, content: Mapping[str, Any], told: str | None) -> Layout:
    """The layout of a checkpoint, by the names of its tensors, or else by where they are kept."""
    known = layouts()
    if told is not None and told not in known:
        raise InputError(f"source: {told!r} is not known; one of {', '.join(known)}")
    holding = [layout for layout in known.values() if layout.holds(content)]
    found = [layout for layout in holding if layout.recognises(content)] or holding
    for layout in found:
        if told in (None, layout.name):
            return layout
    if found:
        raise InputError(
            f"{path}: is a checkpoint of {found[0].name}, not of {told}: its weights are under "
            f"{found[0].state}; leave out --source"
        )
    keys = " or ".join(f"{layout.state} ({name})" for name, layout in known.items())
    raise InputError(f"{path}: has no {keys}: not a published checkpoint that is read")


def _refuse_options(path: Path, layout: Layout, told: Told) -> None:
    """An option belongs to the layouts that read it."""
    why = "which knows no such option" if layout.options else "which tells everything"
    for name, value in dataclasses.asdict(told).items():
        if value is not None and name not in layout.options:
            raise InputError(f"{path}: is a checkpoint of {layout.name}, {why}; leave out --{name}")


def _refuse_unknown(path: Path, layout: Layout, keys: Sequence[str]) -> None:
    """Tensors that a layout neither renames nor drops: the file is not what it seems."""
    if unknown := [key for key in keys if not layout.drops(key)]:
        raise InputError(
            f"{path}: holds {_some(unknown)}, which no {layout.name} network has; it is of another "
            "version or network"
        )


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


def _fitted(
    path: Path, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], used: Mapping[str, str]
) -> dict[str, Tensor]:
    """The weights under our names and in our shapes, in float32.

    Raises:
        InputError: weights are missing, or have other shapes.
    """
    if missing := [name for name in wanted if name not in used.values()]:
        raise InputError(f"{path}: incomplete: has no weights for {_some(missing)}")
    fitted = {}
    for key, name in used.items():
        expected, value = wanted[name].shape, state[key]
        if len(expected) == 2 and value.shape == (*expected, 1):
            value = value.squeeze(-1)  # a convolution of width one is a linear layer
        if value.shape != expected:
            raise InputError(f"{path}: {key} has shape {tuple(value.shape)}, not {tuple(expected)}")
        fitted[name] = value.float().clone()
    return fitted


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
