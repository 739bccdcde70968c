"""The systems that the main job shows: what each has of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helicon.objectives.self_distillation import Distillation, teacher_momentum


@dataclass(frozen=True)
class System:
    """A network that learns to find genes, and how.

    Attributes:
        name: of the network, for tables.
        model: its named size.
        backbone: settings of the named size that differ.
        described: the model with these settings, in words.
        objective: what it is pretrained by, in words.
        pretraining: options of `pretrain` besides those that all systems share.
        finetuning: likewise of `finetune`.
        most_steps: of a run of fine-tuning, however fast the machine.
        context: bases read on both sides of a window; `None`: half the receptive field.
        share: of the time that pretraining takes; the rest is for fine-tuning.
        measuring: seconds of a run of fine-tuning that are spent on measuring, as a share of those
            of training, which are counted at the speed of pretraining.
        probes: whether linear probes of the pretrained and of an untrained network stand beside.
        note: sentences about pretraining for so many steps.
    """

    name: str
    model: str
    backbone: dict[str, Any]
    described: str
    objective: str
    pretraining: dict[str, Any]
    finetuning: dict[str, Any]
    share: float
    measuring: float
    most_steps: int
    context: int | None = None
    probes: bool = False
    note: Callable[[int], str] = lambda steps: ""


#: The printed dilation schedule reaches 697 bases with five blocks, where the official one reaches
#: 193: a gene is about a thousand long, and its frame is seen the better the more of it is seen.
CONVNOVA = System(
    name="ConvNova",
    model="convnova-tiny",
    backbone={"schedule": "paper"},
    described="convnova-tiny, paper dilations",
    objective="masked-nucleotide modelling",
    pretraining={"batch_size": 8, "lr": 4e-3, "mask_rate": 0.15},
    finetuning={"lr": 3e-3},
    share=0.55,
    measuring=0.2,
    most_steps=160,
)

#: What a run of some thousand steps does otherwise than the paper.
_SHORT = {"teacher_momentum": 0.9, "center_momentum": 0.98, "alpha": 0.998}


def _short_run(steps: int) -> str:
    """What a short run does otherwise than the paper, and why."""
    paper = Distillation()
    shares = (paper.teacher_momentum, _SHORT["teacher_momentum"])
    late = range(steps // 2 + 1, steps + 1)
    kept, here = (math.prod(teacher_momentum(s, steps, first) for s in late) for first in shares)
    return (
        "The paper's settings are for tens of thousands of steps. Its teacher, with a momentum "
        f"that begins at {paper.teacher_momentum}, would end {steps:,} steps with "
        f"{100 * kept:.0f} % of the weights that it had half way; here it begins at {shares[1]}, "
        f"which leaves {100 * here:.0f} %. The centre keeps {_SHORT['center_momentum']} of itself "
        f"in a step (paper: {paper.center_momentum}). Hidden letters make {_SHORT['alpha']} of "
        f"the loss (paper: {paper.alpha}): at its low temperatures the other part has a gradient "
        "tens of times as large, and with more of it a short run learns little from letters."
    )


#: Sequences are circles to it: it has no receptive field, and reads windows whole. With a context
#: of an eighth, the windows of fine-tuning, the tiles of measuring and those of pretraining with
#: their CLS tokens are circles of one length, 640: on another one neighbours would be strangers.
FINDNA = System(
    name="FinDNA",
    model="findna-tiny",
    backbone={"layers": 1},
    described="findna-tiny, 1 layer",
    objective="self-distillation",
    pretraining={
        "objective": "self-distillation",
        **_SHORT,
        "length": 630,
        "batch_size": 8,
        "lr": 4e-3,
    },
    finetuning={"lr": 3e-3},
    share=0.45,
    measuring=0.7,
    most_steps=300,
    context=64,
    probes=True,
    note=_short_run,
)

#: By the name that the command line takes.
SYSTEMS = {"convnova": CONVNOVA, "findna": FINDNA}
