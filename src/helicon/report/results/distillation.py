"""A student and its teacher over a run: the parts of the loss, and whether the teacher collapsed.

A teacher has collapsed where it says the same of every sequence: then the student learns nothing
from it. It may do so in two ways, with all weight on one token, or with the same on all. (Or on one
channel or letter, where that is what distributions are over.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from helicon.report.results.records import Curve, logged
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
        choices: how many a distribution is over: K tokens, channels or letters.
        over: `tokens`, one distribution for each channel, or `channels` or `letters`, one for each
            token.
        masked_loss: of the student on hidden letters, nats a letter.
        cls_loss: between the two views at the CLS tokens, nats a distribution.
        teacher_entropy: of the teacher's distributions, nats; the logarithm of `choices` at most.
        student_entropy: of the student's.
        agreement: share of the distributions in which both put most on the same one.
        spread: standard deviation of the teacher's probabilities over the sequences of a batch.
        center_norm: root mean square of the centre.
    """

    choices: int
    over: str
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
        rows = [row for row in rows if row.get("kind") == "train" and "teacher_entropy" in row]
        if not rows:
            return None
        names = [f.name for f in fields(cls) if f.name not in ("choices", "over")]
        curves = {name: logged(rows, name) for name in names}
        choices = round(math.exp(rows[-1]["most_entropy"]))
        return cls(choices, recipe.get("cls_softmax") or "tokens", **curves)

    @property
    def most_entropy(self) -> float:
        """Entropy of a distribution that has the same on all choices."""
        return math.log(self.choices)

    @property
    def most_spread(self) -> float:
        """Spread of a teacher that puts all weight on one choice, each as often as the others."""
        return math.sqrt(self.choices - 1) / self.choices

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
            f"{self.choices} {self._choices} differ from sequence to sequence by a standard "
            f"deviation of {spread:.3f}, {percent(spread / self.most_spread, 0)} of the most there "
            f"can be (below {percent(COLLAPSED, 0)} is collapse), at an entropy of "
            f"{entropy:.2f} nats "
            f"(0: one {self.choice} has all; {self.most_entropy:.2f}: all {self.choice}s are "
            f"alike). The student puts most on the teacher's first {self.choice} in "
            f"{percent(_at_the_end(self.agreement), 0)} of the {self.each}s, where chance gives "
            f"{percent(1 / self.choices, 0)}."
        )

    @property
    def choice(self) -> str:
        """What a distribution is over, one of it."""
        return self.over.removesuffix("s")

    @property
    def _choices(self) -> str:
        return "CLS tokens" if self.over == "tokens" else f"{self.over} of a CLS token"

    @property
    def each(self) -> str:
        """What has a distribution of its own."""
        return "channel" if self.over == "tokens" else "token"

    def _way(self, entropy: float) -> str:
        if entropy < _NEAR_AN_END * self.most_entropy:
            return f"the same {self.choice} has all weight"
        if entropy > (1 - _NEAR_AN_END) * self.most_entropy:
            return f"all {self.choice}s have the same weight"
        return f"the {self.choice}s have the same weights"


def _at_the_end(curve: Curve) -> float:
    """Mean over the last steps."""
    values = [value for _, value in curve if math.isfinite(value)]
    return float(np.mean(values[-max(1, round(_LAST * len(values))) :])) if values else math.nan
