"""FinDNA's published layout: a `.pt` with the weights of two networks and a count of epochs.

`Teacher` and `Student` hold one network each, `EPOCHS_RUN` a number. Shapes tell everything but
how many groups the channels form: in the published code that is one more than the blocks of a
layer, and where that does not divide the channels, the width of a group is asked for.

The five columns of the published embedding and head are A, C, G, N, T; here they are A, C, G, T, N.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models.chordmixer.network import ChordMixerConfig
from helicon.models.parts.layout import Layout, NetworkName, Opened, Told, tensors_under

#: Key of the weights of each network.
STATES: dict[NetworkName, str] = {"teacher": "Teacher", "student": "Student"}

#: The published order of the letters.
_LETTERS = "ACGNT"
_FIRST = r"backbone\.encoders\.(\d+)\.(\d+)\.fc1\.weight"


class FinDnaLayout(Layout):
    """See the module's docstring."""

    name = "findna"
    title = "FinDNA"
    summary = (
        "Weights in the layout of FinDNA's code (Yu et al., Self-Distillation Improves DNA "
        "Sequence Inference, 2024), converted."
    )
    state = STATES["teacher"]
    known_by = r"encoder\.SwanDNA_blocks\..*"
    renamed = (
        (r"embedding", "backbone.embedding"),
        (
            r"encoder\.SwanDNA_blocks\.(\d+)\.SwanDNA_blocks\.(\d+)\.column_transform\.(fc[12])",
            r"backbone.encoders.\1.\2.\3",
        ),
        (r"linear", "lm_head"),
    )
    dropped = (r"center", r"mlp\..*")
    options = frozenset({"network", "group"})

    def tensors(self, path: Path, content: Mapping[str, Any], told: Told) -> dict[str, Tensor]:
        """See `Layout`. Columns and rows of letters are in the order used here."""
        state = tensors_under(path, content, STATES[told.network or "teacher"])
        order = torch.tensor([_LETTERS.index(letter) for letter in DNA.letters])
        axes = {"embedding.weight": 1, "linear.weight": 0, "linear.bias": 0}
        ours = dict(state)
        for key, axis in axes.items():
            value = state.get(key)
            if value is not None and value.ndim > axis and value.shape[axis] == len(order):
                ours[key] = value.index_select(axis, order)
        return ours

    def about(self, told: Told) -> str:
        """See `Layout`."""
        return f"{self.summary} Of its two networks this is the {told.network or 'teacher'}."

    def config(self, opened: Opened) -> ChordMixerConfig:
        """See `Layout`.

        Raises:
            InputError: the weights are not FinDNA's, or the width of a group has to be told.
        """
        path, weights, group = opened.path, opened.weights, opened.told.group
        places = [
            tuple(map(int, m.groups())) for key in weights if (m := re.fullmatch(_FIRST, key))
        ]
        needed = ("backbone.embedding.weight", "backbone.encoders.0.0.fc1.weight")
        if any(key not in weights or weights[key].ndim != 2 for key in needed):
            raise InputError(
                f"{path}: lacks embedding or the first block of encoder.SwanDNA_blocks"
            )
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
                f"{path}: {blocks} blocks a layer would mean {groups} groups, which do not divide "
                f"its {width} channels; give --group, the channels of a group"
            )
        return ChordMixerConfig(
            group=width // groups,
            groups=groups,
            layers=1 + max(layer for layer, _ in places),
            blocks=blocks,
            hidden=len(weights[needed[1]]),
        )
