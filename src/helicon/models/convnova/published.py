"""ConvNova's published layout: a PyTorch Lightning `.ckpt`.

The weights stand under `state_dict`, the network's behind `model.`, a fine-tuned head behind
`decoder.0.output_transform`. What shapes tell is read from shapes; a convolution's dilation leaves
no trace in them and is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models.convnova.network import STEM_KERNEL, ConvNovaConfig
from helicon.models.huggingface.classes import PROBLEM_TYPES, HeliconConfig, HeliconPreTrainedModel
from helicon.models.huggingface.folder import CLASSES
from helicon.models.parts.heads import Problem

TITLE = "ConvNova"
SUMMARY = "Weights in the layout of ConvNova's code (Bo et al., ICLR 2025), converted."
#: Key of the weights.
STATE = "state_dict"

#: Number of convolutions in every published configuration; with another number, how they group
#: into stacks has to be said.
PUBLISHED_CONVOLUTIONS = 5

#: Official module -> ours, in regular expressions over whole key prefixes.
RENAMED = (
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


@dataclass(frozen=True)
class Told:
    """What the shapes do not tell.

    Attributes:
        dilation: base of the dilation schedule.
        stacks: how often each dilation is repeated.
        schedule: the dilation schedule; `None` for the published code's.
        problem: what the fine-tuned head solves; `None` for one class out of several.
    """

    dilation: int | None
    stacks: int | None
    schedule: Literal["official", "paper"] | None
    problem: Problem | None


def network(path: Path, weights: Mapping[str, Tensor], told: Told) -> HeliconPreTrainedModel:
    """A model without memory of the class and configuration that the weights ask for.

    Args:
        path: the checkpoint, for messages.
        weights: its tensors, under our names.
        told: what the shapes do not tell.

    Raises:
        InputError: the weights are not ConvNova's, or something has to be told.
    """
    problem = told.problem or "single_label"
    settings = HeliconConfig.of(_config(path, weights, told))
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


def _config(path: Path, weights: Mapping[str, Tensor], told: Told) -> ConvNovaConfig:
    """The configuration, from shapes and from what was told."""
    needed = ("backbone.stem.weight", "backbone.blocks.0.conv.weight", "backbone.mlp.0.weight")
    if any(name not in weights or weights[name].ndim < 2 for name in needed):
        raise InputError(f"{path}: lacks model.linear, model.convs or model.milinear")
    stem, conv, wide = (weights[name].shape for name in needed)
    if tuple(stem[1:]) != (DNA.size, STEM_KERNEL):
        raise InputError(f"{path}: model.linear.weight has shape {tuple(stem)}: not ConvNova's")
    if told.dilation is None:
        raise InputError(
            f"{path}: shapes do not tell the dilation; give --dilation (4 in the published runs)"
        )
    convolutions = sum(
        bool(re.fullmatch(r"backbone\.blocks\.\d+\.conv\.weight", n)) for n in weights
    )
    if told.stacks is None and convolutions != PUBLISHED_CONVOLUTIONS:
        raise InputError(
            f"{path}: shapes do not tell how its {convolutions} convolutions form stacks; give "
            "--stacks (1 in the published runs)"
        )
    stacks = told.stacks or 1
    if convolutions % stacks:
        raise InputError(f"{path}: --stacks {stacks} does not divide {convolutions} convolutions")
    return ConvNovaConfig(
        d_model=stem[0],
        blocks=convolutions // stacks,
        stacks=stacks,
        kernel=conv[-1],
        dilation=told.dilation,
        schedule=told.schedule or "official",
        feed_forward=any(".feed_forward." in name for name in weights),
        mlp_ratio=wide[0] // stem[0],
        final_conv=any(".final_conv." in name for name in weights),
        mask_reads_as="N",
    )
