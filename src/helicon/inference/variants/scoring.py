"""What is asked of a network about edits of a genome: the scores, and what the network sees.

A network with a finite receptive field is asked about the chromosome as a whole: nothing is cut
off. Others, and those that give one row of outputs a sequence, are asked about windows.

Substitutions of a few letters are computed as differences from the reference (`substitutions.py`).
Whatever else changes, insertions and deletions and the variants of a haplotype, is computed on both
sequences (`pairs.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.variants.alleles import LONGEST
from helicon.inference.variants.scores.likelihoods import LLR
from helicon.inference.variants.scores.registry import default, named
from helicon.inference.variants.scores.score import Evidence, Score
from helicon.inference.variants.views import Reach

#: Letters of a window where one is needed and none is given.
WINDOW = 1024
#: Every so many-th letter is hidden at once, if nothing else is said.
MASK_EVERY = 10


class Column(NamedTuple):
    """A column of numbers of the output.

    Attributes:
        score: name of the score.
        label: of the head's output; empty where the score has one column.
        says: what it is.
    """

    score: str
    label: str
    says: str

    @property
    def name(self) -> str:
        """Of the column in a table."""
        return f"{self.score}:{self.label}" if self.label else self.score


@dataclass(frozen=True)
class Scoring:
    """What is asked of a network.

    Attributes:
        scores: which scores.
        both_strands: average over the two strands.
        window: letters of the window that the network sees; `None` for the whole chromosome.
        window_step: windows begin at multiples of it.
        mask_every: for pseudo-likelihoods, every so many-th letter is hidden at once.
    """

    scores: tuple[Score, ...]
    both_strands: bool = True
    window: int | None = None
    window_step: int = 1
    mask_every: int = MASK_EVERY

    @classmethod
    def of(
        cls,
        network: Network,
        scores: Sequence[str] | None,
        *,
        both_strands: bool,
        window: int | None,
        window_step: int,
        mask_every: int | None,
    ) -> Scoring:
        """Check what is asked for, and choose what is not said.

        Raises:
            InputError: the model cannot give a score, or an option is out of range or of no use.
        """
        if network.alphabet != DNA:
            raise InputError("variants: this model reads no DNA; choose a DNA model")
        asked = [named(name, network) for name in scores or ()] or [default(network)]
        local = network.halo is not None and network.model.backbone.cell == 1
        if window is None and (network.head_type == "sequence" or not local):
            window = WINDOW
        _check_windows(window, window_step)
        if mask_every is None:
            mask_every = MASK_EVERY
        elif not any("mask_every" in score.options for score in asked):
            names = ", ".join(dict.fromkeys(score.name for score in asked))
            raise InputError(f"mask-every: is of no use for {names}; leave it out")
        if mask_every < 2:
            raise InputError(f"mask-every: must be at least 2, not {mask_every}")
        return cls(tuple(dict.fromkeys(asked)), both_strands, window, window_step, mask_every)

    def columns(self, network: Network) -> list[Column]:
        """The numbers that an edit gets: a score's own, or one for each output of a head."""
        found = []
        for score in self.scores:
            for label in network.labels if score.by_output else ("",):
                says = f"{score.says} {label!r}" if label else score.says
                found.append(Column(score.name, label, says))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values, of which the scores are names."""
        return vars(self) | {"scores": [score.name for score in self.scores]}

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What the scores are computed from, each once."""
        return tuple(dict.fromkeys(score.evidence for score in self.scores))

    def compared(self, mean: dict[Evidence, Tensor]) -> Tensor:
        """Scores (n, columns) of evidence that was averaged over the strands, (n, ...) each."""
        found = [score.compare(mean[score.evidence]) for score in self.scores]
        return torch.cat([one if one.ndim == 2 else one[:, None] for one in found], dim=1)

    @property
    def strands(self) -> tuple[bool, ...]:
        """Which strands are looked at: `True` for the reverse."""
        return (False, True) if self.both_strands else (False,)

    @property
    def longest(self) -> int:
        """Letters of the longest allele that is scored: it has to lie well inside of a window."""
        return LONGEST if self.window is None else min(LONGEST, self.window // 4)

    def distance(self, network: Network) -> int:
        """Bases between edits of a haplotype that see each other at most."""
        reach = self.reach(network, substitution=False)
        return 2 * (reach.margin or reach.window or 0)

    def reach(self, network: Network, *, substitution: bool) -> Reach:
        """How much of the chromosome an edit's scores depend on."""
        if self.window is not None:
            return Reach(window=self.window, step=self.window_step)
        assert network.halo is not None
        near = substitution and self.scores == (LLR,)
        return Reach(margin=network.halo * (1 if near else 2))


def _check_windows(window: int | None, step: int) -> None:
    if window is not None and window < 8:
        raise InputError(f"window: must be at least 8 letters, not {window}")
    if window is None and step != 1:
        raise InputError("window-step: is of use with windows only; give a window, or leave it out")
    if window is not None and step != 1 and not 1 <= step <= window // 4:
        raise InputError(f"window-step: must be from 1 to a quarter of the window, not {step}")
