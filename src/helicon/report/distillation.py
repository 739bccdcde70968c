"""A student and its teacher over a run: the parts of the loss, and whether the teacher collapsed.

A teacher has collapsed where it says the same of every sequence: then the student learns nothing
from it. It may do so in two ways, with all weight on one token, or with the same on all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from helicon.report.curves import learning_curves, logged
from helicon.report.html import Block, Columns, Prose
from helicon.report.records import Curve
from helicon.report.wording import percent

#: What the two curves of the loss on hidden letters are.
LETTERS = (
    "Training: the student on its view, in which a tenth of the targets show the letter itself; "
    "validation: the teacher, to which all are hidden."
)

#: Spread below which a teacher has collapsed, as a share of the most there can be.
COLLAPSED = 0.05
#: Share of log K from the ends of which an entropy is called that of one token, or of all alike.
_NEAR_AN_END = 0.05
#: Share of the run, at its end, whose mean is judged.
_LAST = 0.1


@dataclass(frozen=True)
class Watch:
    """What was watched while a student learned from its teacher, each at (step, value).

    Attributes:
        tokens: K, CLS tokens of a sequence.
        masked_loss: of the student on hidden letters, nats a letter.
        cls_loss: between the two views at the CLS tokens, nats a channel.
        teacher_entropy: of the teacher's distributions over the tokens, nats; log K at most.
        student_entropy: of the student's.
        agreement: share of the channels in which both put most on the same token.
        spread: standard deviation of the teacher's probabilities over the sequences of a batch.
        center_norm: root mean square of the centre.
    """

    tokens: int
    masked_loss: Curve
    cls_loss: Curve
    teacher_entropy: Curve
    student_entropy: Curve
    agreement: Curve
    spread: Curve
    center_norm: Curve

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> Self | None:
        """From the rows of a run's log and the options of its recipe.

        Returns:
            `None` for another objective, or before the first row.
        """
        tokens = recipe.get("cls_tokens")
        rows = [row for row in rows if row.get("kind") == "train" and "teacher_entropy" in row]
        if tokens is None or not rows:
            return None
        names = [f.name for f in fields(cls) if f.name != "tokens"]
        return cls(tokens, **{name: logged(rows, name) for name in names})

    @property
    def most_entropy(self) -> float:
        """Entropy of a distribution that has the same on all tokens, log K."""
        return math.log(self.tokens)

    @property
    def most_spread(self) -> float:
        """Spread of a teacher that puts all weight on one token, each as often as the others."""
        return math.sqrt(self.tokens - 1) / self.tokens

    @property
    def collapsed(self) -> bool | None:
        """Whether the teacher says the same of every sequence at the end of the run.

        `None` where it cannot be told: a batch of one sequence has no spread.
        """
        if not any(value > 0 for _, value in self.spread):
            return None
        return _at_the_end(self.spread) < COLLAPSED * self.most_spread

    def verdict(self) -> str:
        """Whether the teacher has collapsed, how that was judged, and how far it is followed."""
        if self.collapsed is None:
            return (
                "Whether the teacher has collapsed cannot be told: its distributions have no "
                "spread over the sequences of a batch, as is so with one sequence in each."
            )
        entropy, spread = _at_the_end(self.teacher_entropy), _at_the_end(self.spread)
        if self.collapsed:
            said = f"The teacher has collapsed: {self._way(entropy)} for every sequence."
        elif spread < 2 * COLLAPSED * self.most_spread:
            said = "The teacher has nearly collapsed: it hardly tells sequences apart."
        else:
            said = "The teacher has not collapsed: it tells sequences apart."
        return (
            f"{said} Judged by the last tenth of training, in which its distributions over the "
            f"{self.tokens} CLS tokens differ from sequence to sequence by a standard deviation of "
            f"{spread:.3f}, {percent(spread / self.most_spread, 0)} of the most there can be "
            f"(below {percent(COLLAPSED, 0)} is collapse), at an entropy of {entropy:.2f} nats "
            f"(0: one token has all; {self.most_entropy:.2f}: all tokens are alike). The student "
            f"puts most on the teacher's first token in {percent(_at_the_end(self.agreement), 0)} "
            f"of the channels, where chance gives {percent(1 / self.tokens, 0)}."
        )

    def _way(self, entropy: float) -> str:
        if entropy < _NEAR_AN_END * self.most_entropy:
            return "the same token has all weight"
        if entropy > (1 - _NEAR_AN_END) * self.most_entropy:
            return "all tokens have the same weight"
        return "the tokens have the same weights"


def watched(watch: Watch | None) -> list[Block]:
    """Whether the teacher has collapsed, and the curves that say so; nothing without a teacher."""
    if watch is None:
        return []
    tokens = watch.tokens
    figures = [
        learning_curves(
            {"teacher": [watch.teacher_entropy], "student": [watch.student_entropy]},
            title="Entropy over the CLS tokens",
            y_label="nats, mean over channels",
            references={f"log {tokens}": watch.most_entropy, "one token": 0.0},
            caption=f"At log {tokens} all tokens are alike; at 0 one has all weight.",
        ),
        learning_curves(
            {"": [watch.spread]},
            title="Spread of the teacher over sequences",
            y_label="standard deviation of its probabilities",
            references={"collapse": COLLAPSED * watch.most_spread},
            caption="Below the dashed line it says nearly the same of every sequence.",
        ),
        learning_curves(
            {"": [watch.agreement]},
            title="Agreement of the two views",
            y_label="share of channels with the same first token",
            references={"chance": 1 / tokens},
        ),
        learning_curves(
            {"": [watch.cls_loss]},
            title="Loss between the views",
            y_label="cross-entropy at the CLS tokens, nats a channel",
        ),
        learning_curves(
            {"": [watch.center_norm]},
            title="Norm of the centre",
            y_label="root mean square of its entries",
        ),
    ]
    return [Prose(watch.verdict()), Columns(figures)]


def _at_the_end(curve: Curve) -> float:
    """Mean over the last steps."""
    values = [value for _, value in curve if math.isfinite(value)]
    return float(np.mean(values[-max(1, round(_LAST * len(values))) :])) if values else math.nan
