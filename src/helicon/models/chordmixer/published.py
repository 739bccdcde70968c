"""FinDNA's published layout: a `.pt` with the weights of two networks and a count of epochs.

`Teacher` and `Student` hold one network each, `EPOCHS_RUN` a number. Shapes tell everything but
how many groups the channels form: in the published code that is one more than the blocks of a
layer, and where that does not divide the channels, the width of a group is asked for.

The five columns of the published embedding and head are A, C, G, N, T; here they are A, C, G, T, N.
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
from helicon.models.chordmixer.network import ChordMixerConfig
from helicon.models.huggingface.classes import HeliconConfig, HeliconPreTrainedModel
from helicon.models.huggingface.folder import CLASSES

TITLE = "FinDNA"
SUMMARY = (
    "Weights in the layout of FinDNA's code (Yu et al., Self-Distillation Improves DNA Sequence "
    "Inference, 2024), converted."
)
Network = Literal["teacher", "student"]
#: Key of the weights of each network.
STATES: dict[Network, str] = {"teacher": "Teacher", "student": "Student"}
#: Key by which such a file is known.
STATE = STATES["teacher"]

#: Official module -> ours, in regular expressions over whole key prefixes.
RENAMED = (
    (r"embedding", "backbone.embedding"),
    (
        r"encoder\.SwanDNA_blocks\.(\d+)\.SwanDNA_blocks\.(\d+)\.column_transform\.(fc[12])",
        r"backbone.encoders.\1.\2.\3",
    ),
    (r"linear", "lm_head"),
)

#: The published order of the letters.
_LETTERS = "ACGNT"
_FIRST = r"backbone\.encoders\.(\d+)\.(\d+)\.fc1\.weight"


@dataclass(frozen=True)
class Told:
    """What the file leaves open.

    Attributes:
        network: which of the two networks; `None` for the teacher.
        group: channels of a group; `None` where the shapes tell.
    """

    network: Network | None
    group: int | None

    @property
    def state(self) -> str:
        """Key of the weights that are wanted."""
        return STATES[self.network or "teacher"]

    @property
    def which(self) -> str:
        """For the model card."""
        return f" Of its two networks this is the {self.network or 'teacher'}."


def in_our_order(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights (under their keys) with the letters' columns and rows in the order used here."""
    order = torch.tensor([_LETTERS.index(letter) for letter in DNA.letters])
    axes = {"embedding.weight": 1, "linear.weight": 0, "linear.bias": 0}
    ours = dict(state)
    for key, axis in axes.items():
        value = state.get(key)
        if value is not None and value.ndim > axis and value.shape[axis] == len(order):
            ours[key] = value.index_select(axis, order)
    return ours


def network(path: Path, weights: Mapping[str, Tensor], told: Told) -> HeliconPreTrainedModel:
    """A model without memory of the configuration that the weights ask for.

    Args:
        path: the checkpoint, for messages.
        weights: one network's tensors, under our names.
        told: what the file leaves open.

    Raises:
        InputError: the weights are not FinDNA's, or the width of a group has to be told.
    """
    settings = HeliconConfig.of(_config(path, weights, told.group))
    name = "HeliconForMaskedLM" if "lm_head.weight" in weights else "HeliconModel"
    with torch.device("meta"):
        return CLASSES[name](settings)


def _config(path: Path, weights: Mapping[str, Tensor], group: int | None) -> ChordMixerConfig:
    places = [tuple(map(int, m.groups())) for key in weights if (m := re.fullmatch(_FIRST, key))]
    needed = ("backbone.embedding.weight", "backbone.encoders.0.0.fc1.weight")
    if any(key not in weights or weights[key].ndim != 2 for key in needed):
        raise InputError(f"{path}: lacks embedding or the first block of encoder.SwanDNA_blocks")
    width, blocks = len(weights[needed[0]]), 1 + max(block for _, block in places)
    groups = blocks + 1
    if group is not None:
        if group < 1 or width % group or width == group:
            raise InputError(
                f"{path}: --group {group} does not divide its {width} channels into groups"
            )
        groups = width // group
    elif width % groups:
        raise InputError(
            f"{path}: {blocks} blocks a layer would mean {groups} groups, which do not divide its "
            f"{width} channels; give --group, the channels of a group"
        )
    return ChordMixerConfig(
        group=width // groups,
        groups=groups,
        layers=1 + max(layer for layer, _ in places),
        blocks=blocks,
        hidden=len(weights[needed[1]]),
    )
