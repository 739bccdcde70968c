"""Scores of substitutions, from what they change in a pass that neighbouring variants share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.data.genome.genome import Genome
from helicon.forward.network import Network
from helicon.forward.substitutions import Differences
from helicon.inference.variants.alleles import Edit
from helicon.inference.variants.scores.changes import Group, Side
from helicon.inference.variants.scores.score import Evidence, FromFeatures, FromSubstitutions
from helicon.inference.variants.scoring import Scoring

#: Letters of the longest substitution that is computed as a difference.
WIDEST = 32
#: Activations (letters x channels) of a stretch of reference, all of which are kept.
STRETCH = 2**19
#: Substitutions whose scores are held at once.
ROWS = 512


@dataclass(eq=False)
class Stretch:
    """A stretch of a chromosome with the edits that are computed on it.

    Attributes:
        chrom: index of the chromosome.
        start: first letter.
        end: behind the last.
        rows: which edits.
    """

    chrom: int
    start: int
    end: int
    rows: list[int]


class Substitutions:
    """Scores of substitutions.

    Args:
        network: the network.
        genome: the genome.
        scoring: what is asked.
    """

    def __init__(self, network: Network, genome: Genome, scoring: Scoring):
        self.network, self.genome, self.scoring = network, genome, scoring
        self.differences = Differences(network)
        self.reach = scoring.reach(network, substitution=True)
        self.columns = len(scoring.columns(network))
        self.possible = all(
            isinstance(one, FromFeatures | FromSubstitutions) for one in scoring.evidence
        )

    def can(self, edit: Edit) -> bool:
        """Whether an edit is a substitution of a few letters, and the scores take these."""
        return self.possible and len(edit.ref) == len(edit.alt) <= WIDEST

    def score(self, edits: Sequence[Edit]) -> NDArray[np.float32]:
        """Scores (n, columns) of edits for which `can` holds."""
        found = np.empty((len(edits), self.columns), np.float32)
        for stretch in self._stretches(edits):
            groups = list(self._groups(stretch, edits))
            for group, scores in zip(groups, self._scores(stretch, groups), strict=True):
                found[group.rows] = scores.cpu().numpy()
        return found

    # ------------------------------------------------------------ where

    def _stretches(self, edits: Sequence[Edit]) -> Iterator[Stretch]:
        """Stretches of bounded length; edits whose surroundings touch share one."""
        longest = max(1024, STRETCH // max(self.network.d_model, 32))
        stretch: Stretch | None = None
        for row in sorted(range(len(edits)), key=lambda row: edits[row][:2]):
            chrom = edits[row].chrom
            start, end = self._around(edits[row])
            if (
                stretch is not None
                and chrom == stretch.chrom
                and self._joins(stretch, start, end, longest)
            ):
                stretch.end = max(stretch.end, end)
                stretch.rows.append(row)
                continue
            if stretch is not None:
                yield self._rounded(stretch)
            stretch = Stretch(chrom, start, end, [row])
        if stretch is not None:
            yield self._rounded(stretch)

    def _rounded(self, stretch: Stretch) -> Stretch:
        """A stretch that goes on to a round length, if the chromosome does."""
        if self.reach.window is None:
            end = stretch.start + _rounded(stretch.end - stretch.start)
            stretch.end = min(end, int(self.genome.lengths[stretch.chrom]))
        return stretch

    def _around(self, edit: Edit) -> tuple[int, int]:
        """The letters that an edit's scores depend on."""
        length = int(self.genome.lengths[edit.chrom])
        if self.reach.margin is None:
            assert self.reach.window is not None
            start = self.reach.window_start((edit.start + edit.end) // 2, length)
            return start, min(length, start + self.reach.window)
        return max(0, edit.start - self.reach.margin), min(length, edit.end + self.reach.margin)

    def _joins(self, stretch: Stretch, start: int, end: int, longest: int) -> bool:
        """Whether the surroundings of one more edit go into a stretch."""
        if self.reach.window is not None:
            return start == stretch.start
        return start <= stretch.end and max(stretch.end, end) - stretch.start <= longest

    def _groups(self, stretch: Stretch, edits: Sequence[Edit]) -> Iterator[Group]:
        device = self.network.device
        for width in sorted({len(edits[row].ref) for row in stretch.rows}):
            same = [row for row in stretch.rows if len(edits[row].ref) == width]
            for first in range(0, len(same), ROWS):
                rows = same[first : first + ROWS]
                rows += rows[-1:] * (_rounded(len(rows)) - len(rows))
                starts = [edits[row].start - stretch.start for row in rows]
                letters = [
                    np.frombuffer(b"".join(alleles), np.uint8).reshape(-1, width).astype(np.int64)
                    for alleles in ([edits[r].ref for r in rows], [edits[r].alt for r in rows])
                ]
                ref, alt = (torch.from_numpy(ids).to(device) for ids in letters)
                yield Group(np.array(rows), torch.tensor(starts, device=device), ref, alt)

    def _side(self, stretch: Stretch, reverse: bool) -> Side:
        ids = self.genome.fetch(
            stretch.chrom, stretch.start, stretch.end, strand="-" if reverse else "+"
        )
        place = torch.arange(stretch.start, stretch.end, device=self.network.device)
        phase = place % self.scoring.mask_every
        return Side(
            self.differences, reverse, self.network.tokens(ids),
            phase.flip(0) if reverse else phase, self.scoring.mask_every,
            windowed=self.reach.window is not None,
        )  # fmt: skip

    # ------------------------------------------------------------ what

    def _scores(self, stretch: Stretch, groups: Sequence[Group]) -> Iterator[Tensor]:
        """Scores (n, columns) of each group, on the strands that are looked at."""
        raw: list[list[dict[Evidence, Tensor]]] = [[] for _ in groups]
        for reverse in self.scoring.strands:
            side = self._side(stretch, reverse)
            turned = [g.turned(len(side.ids)) for g in groups] if reverse else groups
            for kept, found in zip(raw, self._on(side, turned), strict=True):
                kept.append(found)
        for sides in raw:
            yield self.scoring.compared(
                {one: torch.stack([side[one] for side in sides]).mean(0) for one in sides[0]}
            )

    def _on(self, side: Side, groups: Sequence[Group]) -> list[dict[Evidence, Tensor]]:
        """The evidence of each group on one strand."""
        found: list[dict[Evidence, Tensor]] = [{} for _ in groups]
        for evidence in self.scoring.evidence:
            if isinstance(evidence, FromSubstitutions):
                for values, one in zip(found, evidence.of_groups(side, groups), strict=True):
                    values[evidence] = one
        features = [e for e in self.scoring.evidence if isinstance(e, FromFeatures)]
        for values, group in zip(found, groups, strict=True):
            parts: dict[Evidence, list[Tensor]] = {evidence: [] for evidence in features}
            changes = self.differences.of(side.reference, group.positions, group.alt)
            for _, changed in changes if features else ():
                for evidence in features:
                    parts[evidence].append(evidence.of_changed(side, changed))
            values |= {evidence: torch.cat(some) for evidence, some in parts.items()}
        return found


def _rounded(number: int) -> int:
    """The next number of three binary digits and zeros.

    For each shape of its input a convolution library keeps a program of its own: a few shapes that
    come again and again take less time and memory than many.
    """
    unit = 1 << max(0, number.bit_length() - 3)
    return -(-number // unit) * unit
