"""Scores of edits of any kind, on any background, from the sequences without and with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA, Ids
from helicon.data.genome.genome import Genome
from helicon.forward.memory import letters_at_once
from helicon.forward.network import Network
from helicon.inference.variants.alleles import Edit
from helicon.inference.variants.scores.score import Evidence, Pass, Strand
from helicon.inference.variants.scoring import Scoring
from helicon.inference.variants.views import Pair

#: Pairs whose passes are put together in batches.
PAIRS = 64


@dataclass(eq=False)
class Scored:
    """A pair and what is known of it so far.

    Attributes:
        pair: the sequences.
        sums: evidence, summed over its passes and the strands.
    """

    pair: Pair
    sums: dict[Evidence, Tensor] = field(default_factory=dict)

    def add(self, evidence: Evidence, value: Tensor) -> None:
        """Add what a pass gave; in double precision, where the device has it."""
        value = value if value.device.type == "mps" else value.double()
        self.sums[evidence] = self.sums[evidence] + value if evidence in self.sums else value


@dataclass(eq=False)
class _Read:
    """A sequence that is read once, and who asks for its features."""

    ids: Ids
    uses: list[tuple[Scored, Evidence, Pass]] = field(default_factory=list)


class Pairs:
    """Scores of edits, from passes over both sequences.

    Args:
        network: the network.
        genome: the genome.
        scoring: what is asked.
    """

    def __init__(self, network: Network, genome: Genome, scoring: Scoring):
        self.network, self.genome, self.scoring = network, genome, scoring
        self.columns = len(scoring.columns(network))

    def score(
        self, edits: Sequence[Edit], backgrounds: Sequence[Sequence[Sequence[Edit]]] | None = None
    ) -> NDArray[np.float32]:
        """Scores of edits.

        Args:
            edits: the edits, n of them.
            backgrounds: for each edit the other edits of each haplotype that carries it; the mean
                over the haplotypes is given.

        Returns:
            Scores (n, columns).
        """
        found = np.empty((len(edits), self.columns), np.float32)
        for first in range(0, len(edits), PAIRS):
            rows = range(first, min(first + PAIRS, len(edits)))
            others = [[()] if backgrounds is None else backgrounds[row] for row in rows]
            scored = [
                [self._pair(edits[row], background) for background in carried]
                for row, carried in zip(rows, others, strict=True)
            ]
            for reverse in self.scoring.strands:
                self._run([one for pairs in scored for one in pairs], reverse)
            for row, pairs in zip(rows, scored, strict=True):
                each = torch.cat([self._compared(one) for one in pairs])
                found[row] = each.mean(0).cpu().numpy()
        return found

    def _pair(self, edit: Edit, background: Sequence[Edit]) -> Scored:
        substitution = len(edit.ref) == len(edit.alt)
        reach = self.scoring.reach(self.network, substitution=substitution)
        return Scored(reach.pair(self.genome, edit, background))

    def _compared(self, scored: Scored) -> Tensor:
        """Scores (1, columns)."""
        strands = len(self.scoring.strands)
        return self.scoring.compared({e: total[None] / strands for e, total in scored.sums.items()})

    def _run(self, scored: Sequence[Scored], reverse: bool) -> None:
        """Do all passes of one strand; a sequence that several ask for is read once."""
        windowed = self.scoring.window is not None
        strand = Strand(self.network, reverse, self.scoring.mask_every, windowed)
        reads: dict[bytes, _Read] = {}
        for one in scored:
            for evidence in self.scoring.evidence:
                for asked in evidence.of_pair(one.pair, strand):
                    read = reads.setdefault(asked.ids.tobytes(), _Read(asked.ids))
                    read.uses.append((one, evidence, asked))
        for batch in _batches(list(reads.values()), letters_at_once(self.network)):
            ids = np.stack([one.ids for one in batch])
            features = self.network.features(DNA.reverse_complement(ids) if reverse else ids)
            for own, read in zip(features, batch, strict=True):
                forward = own.flip(0) if reverse else own
                for pair, evidence, asked in read.uses:
                    pair.add(evidence, asked.give(forward))


def _batches(reads: Sequence[_Read], letters: int) -> Iterator[list[_Read]]:
    """Sequences of one length together, at most so many letters at once.

    By powers of two: a few shapes that come again and again take less time and memory than many,
    as in `substitutions`.
    """
    by_length: dict[int, list[_Read]] = {}
    for one in reads:
        by_length.setdefault(len(one.ids), []).append(one)
    for length, same in by_length.items():
        most = max(1, letters // max(1, length))
        at = 0
        while at < len(same):
            size = 1 << (min(most, len(same) - at).bit_length() - 1)
            yield same[at : at + size]
            at += size
