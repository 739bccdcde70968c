"""Published checkpoints to model folders.

ConvNova is published as a PyTorch Lightning `.ckpt`: a zipped pickle with the weights under
`state_dict`, the network's behind `model.`, a fine-tuned head behind `decoder.0.output_transform`.
What shapes tell is read from shapes; a convolution's dilation leaves no trace in them and is
asked for. Checkpoints are read with `weights_only=True`: no code in them is ever run.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.files import existing_file
from helicon.models.convnova import STEM_KERNEL, ConvNovaConfig
from helicon.models.heads import Problem
from helicon.models.hub import (
    CLASSES,
    HeliconConfig,
    HeliconPreTrainedModel,
    ModelCard,
    save,
)
from helicon.models.huggingface import PROBLEM_TYPES

Source = Literal["convnova"]

#: Number of convolutions in every published configuration; with another number, how they group
#: into stacks has to be said.
PUBLISHED_CONVOLUTIONS = 5

#: Official module -> ours, in regular expressions over whole key prefixes.
_RENAMED = (
    (r"model\.linear", "backbone.stem"),
    (r"model\.rc_linear", "backbone.gate_stem"),
    (r"model\.convs\.(\d+)", r"backbone.blocks.\1.conv"),
    (r"model\.gates\.(\d+)", r"backbone.blocks.\1.gate"),
    (r"model\.norms\.(\d+)", r"backbone.blocks.\1.norm"),
    (r"model\.rc_norms\.(\d+)", r"backbone.blocks.\1.gate_norm"),
    (r"model\.mlpgroup2\.(\d+)\.([02])", r"backbone.blocks.\1.feed_forward.\2"),
    (r"model\.milinear\.(\d+)", r"backbone.mlp.\1"),
    (r"model\.final_conv\.([02])", r"backbone.final_conv.\1"),
    (r"model\.out_linear", "lm_head"),
    (r"decoder\.0\.output_transform", "classifier.layers.1"),
)

#: Packages whose objects Lightning stores beside the weights (settings); read as empty shells.
_SETTINGS = ("omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric.", "typing.")
#: Plain containers and numbers that those objects hold; to make one runs no code of the file's.
_PLAIN = (bool, int, float, str, list, dict, defaultdict)


@dataclass(frozen=True)
class ConversionReport:
    """What was read and what was left.

    Attributes:
        folder: the model folder that was written.
        model_class: the class that opens it.
        config: the backbone's config.
        used: keys of the checkpoint that became weights.
        unused: keys of the checkpoint that the model has no place for. (A weight that the model
            needs and the checkpoint lacks is an error, never a random number.)
    """

    folder: Path
    model_class: str
    config: ConvNovaConfig
    used: tuple[str, ...]
    unused: tuple[str, ...]


def convert(
    checkpoint: str | Path,
    out: str | Path,
    *,
    source: Source = "convnova",
    dilation: int | None = None,
    stacks: int | None = None,
    schedule: Literal["official", "paper"] = "official",
    problem: Problem = "single_label",
) -> ConversionReport:
    """Write a published checkpoint as a model folder.

    The folder holds a sequence classifier where the checkpoint has a fine-tuned head, else a
    masked language model where it has that head, else the backbone alone. The mask symbol is read
    as N, as the official code does.

    Args:
        checkpoint: the Lightning `.ckpt`.
        out: the model folder to write.
        source: the code that the checkpoint comes from.
        dilation: base of the dilation schedule (4 in the published runs).
        stacks: how often each dilation is repeated, consecutively (1 in the published runs).
        schedule: the dilation schedule; published code runs `official`.
        problem: what the fine-tuned head solves, where there is one.

    Raises:
        InputError: the file is no such checkpoint, lacks weights, or an argument is missing; names
            the file and the argument.
    """
    path = existing_file(checkpoint, "checkpoint")
    state = _read_state(path)
    names = {key: name for key in state if (name := _renamed(key)) is not None}
    weights = {name: _squeezed(name, state[key]) for key, name in names.items()}
    if not any(name.startswith("backbone.") for name in weights):
        raise InputError(f"{path}: holds no weights of a {source} network; give the right file")
    config = _read_config(path, weights, dilation, stacks, schedule)
    model = _build(path, config, weights, problem)
    wanted = model.state_dict()
    used = {key: name for key, name in names.items() if name in wanted}
    _check(path, wanted, {key: weights[name] for key, name in used.items()}, used)
    model.load_state_dict(
        {name: weights[name].float().clone() for name in used.values()}, assign=True
    )
    card = ModelCard(
        name=f"ConvNova, converted from {path.name}",
        summary="Weights in the layout of ConvNova's code (Bo et al., ICLR 2025), converted.",
        base_model=path.name,
    )
    return ConversionReport(
        folder=save(model, out, card),
        model_class=type(model).__name__,
        config=config,
        used=tuple(used),
        unused=tuple(key for key in state if key not in used),
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a Lightning checkpoint."""
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
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: has no state_dict: not a Lightning checkpoint")
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


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


def _renamed(key: str) -> str | None:
    """Our name of an official key, or `None` for what is no weight of the network."""
    module, _, kind = key.rpartition(".")
    if kind not in ("weight", "bias"):
        return None
    for pattern, ours in _RENAMED:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(ours)}.{kind}"
    return None


def _squeezed(name: str, value: Tensor) -> Tensor:
    """A convolution of width one as the linear layer that it is."""
    return value.squeeze(-1) if re.fullmatch(r"backbone\.final_conv\.\d\.weight", name) else value


def _read_config(
    path: Path,
    weights: dict[str, Tensor],
    dilation: int | None,
    stacks: int | None,
    schedule: Literal["official", "paper"],
) -> ConvNovaConfig:
    """The configuration, from shapes and from what was asked for."""
    needed = ("backbone.stem.weight", "backbone.blocks.0.conv.weight", "backbone.mlp.0.weight")
    if any(name not in weights or weights[name].ndim < 2 for name in needed):
        raise InputError(f"{path}: lacks model.linear, model.convs or model.milinear")
    stem, conv, wide = (weights[name].shape for name in needed)
    if tuple(stem[1:]) != (DNA.size, STEM_KERNEL):
        raise InputError(f"{path}: model.linear.weight has shape {tuple(stem)}: not ConvNova's")
    if dilation is None:
        raise InputError(
            f"{path}: shapes do not tell the dilation; give --dilation (4 in the published runs)"
        )
    convolutions = sum(
        bool(re.fullmatch(r"backbone\.blocks\.\d+\.conv\.weight", n)) for n in weights
    )
    if stacks is None and convolutions != PUBLISHED_CONVOLUTIONS:
        raise InputError(
            f"{path}: shapes do not tell how its {convolutions} convolutions form stacks; give "
            "--stacks (1 in the published runs)"
        )
    stacks = stacks or 1
    if convolutions % stacks:
        raise InputError(f"{path}: --stacks {stacks} does not divide {convolutions} convolutions")
    return ConvNovaConfig(
        d_model=stem[0],
        blocks=convolutions // stacks,
        stacks=stacks,
        kernel=conv[-1],
        dilation=dilation,
        schedule=schedule,
        feed_forward=any(".feed_forward." in name for name in weights),
        mlp_ratio=wide[0] // stem[0],
        final_conv=any(".final_conv." in name for name in weights),
        mask_reads_as="N",
    )


def _build(
    path: Path, config: ConvNovaConfig, weights: dict[str, Tensor], problem: Problem
) -> HeliconPreTrainedModel:
    """A model without memory of the class that the weights ask for."""
    settings = HeliconConfig.of(config)
    name = "HeliconModel"
    if "lm_head.weight" in weights:
        name = "HeliconForMaskedLM"
    if "classifier.layers.1.weight" in weights:
        name = "HeliconForSequenceClassification"
        settings.num_labels = len(weights["classifier.layers.1.weight"])
        settings.problem_type = PROBLEM_TYPES[problem]
        if settings.num_labels == 1 and problem == "single_label":
            raise InputError(f"{path}: its head has one output; give --problem regression")
    with torch.device("meta"):
        return CLASSES[name](settings)


def _check(
    path: Path, wanted: dict[str, Tensor], state: dict[str, Tensor], used: dict[str, str]
) -> None:
    """Refuse a checkpoint that lacks weights, or has them in other shapes."""
    if missing := [name for name in wanted if name not in used.values()]:
        raise InputError(f"{path}: incomplete: has no weights for {', '.join(missing)}")
    for key, value in state.items():
        expected = tuple(wanted[used[key]].shape)
        if tuple(value.shape) != expected:
            raise InputError(f"{path}: {key} has shape {tuple(value.shape)}, not {expected}")
