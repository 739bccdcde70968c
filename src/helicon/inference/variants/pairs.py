"""Scores of edits of any kind, on any background, from the sequences without and with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
from helicon.inference.variants.scores import REAL, Scoring, distances, largest, likelihoods
from helicon.inference.variants.views import Pair, View

#: Pairs whose passes are put together in batches.
PAIRS = 32
#: Log-likelihood of a base of which nothing is known: what an inserted base is measured by.
CHANCE = -math.log(REAL)

_Sum = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Pass:
    """One sequence that the network has to read.

    Attributes:
        ids: letters, (L,).
        use: called with the features (L, D) in the order of the forward strand.
    """

    ids: Ids
    use: Callable[[Tensor], None]


@dataclass(eq=False)
class Scored:
    """A pair and what is known of it so far; sums over the strands.

    Attributes:
        pair: the sequences.
        left: letters left of the allele that are looked at.
        right: letters right of it.
        sums: by name of the score, or of what it is made of.
    """

    pair: Pair
    left: int
    right: int
    sums: _Sum = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> None:
        """Add to a sum."""
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def looked_at(self, view: View) -> slice:
        """The letters of a view that are looked at."""
        return slice(view.first - self.left, view.last + self.right)


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
        self.opposite = torch.from_numpy(network.opposite).to(network.device)

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
                each = torch.stack([self._columns(one) for one in pairs])
                found[row] = each.mean(0).cpu().numpy()
        return found

    def _pair(self, edit: Edit, background: Sequence[Edit]) -> Scored:
        substitution = len(edit.ref) == len(edit.alt)
        reach = self.scoring.reach(self.network, substitution=substitution)
        pair = reach.pair(self.genome, edit, background)
        return Scored(pair, *pair.flanks(self.network.halo if reach.window is None else None))

    def _columns(self, scored: Scored) -> Tensor:
        """What is asked, of sums over the strands, (columns,)."""
        strands = len(self.scoring.strands)
        mean = {name: total / strands for name, total in scored.sums.items()}
        if "vectors" in mean:
            mean |= {name: value[0] for name, value in distances(mean["vectors"][None]).items()}
        if "changes" in mean:
            mean["head"] = largest(mean["changes"][None])[0]
        return torch.cat([mean[name].reshape(-1) for name in self.scoring.scores])

    # ------------------------------------------------------------ passes

    def _run(self, scored: Sequence[Scored], reverse: bool) -> None:
        """Do all passes of one strand."""
        passes = [one for pair in scored for one in self._passes(pair, reverse)]
        for batch in _batches(passes, letters_at_once(self.network)):
            ids = np.stack([one.ids for one in batch])
            features = self.network.features(DNA.reverse_complement(ids) if reverse else ids)
            for own, one in zip(features, batch, strict=True):
                one.use(own.flip(0) if reverse else own)

    def _passes(self, scored: Scored, reverse: bool) -> Iterator[Pass]:
        pair, wanted = scored.pair, set(self.scoring.scores)
        substitution = _width(pair.ref) == _width(pair.alt)
        if "llr" in wanted and substitution:
            yield self._hidden_alleles(scored, reverse)
        names = [name for name in ("llr", "pseudo-likelihood") if name in wanted]
        if substitution and "llr" in names:
            names.remove("llr")
        if names:
            for view, sign in ((pair.ref, -1), (pair.alt, 1)):
                yield from self._combs(scored, view, sign, names, reverse)
        if wanted & {"embedding", "cosine"}:
            yield from self._vectors(scored)
        if "head" in wanted:
            yield from self._outputs(scored, reverse)

    def _hidden_alleles(self, scored: Scored, reverse: bool) -> Pass:
        """Log-ratio of both alleles where they differ, with these letters hidden."""
        ref, alt = scored.pair.ref, scored.pair.alt
        at = np.flatnonzero(ref.ids != alt.ids)
        ids = ref.ids.copy()
        ids[at] = DNA.mask_id

        def use(features: Tensor) -> None:
            log_p = self._likelihoods(features[at], reverse)
            ratio = _of(log_p, alt.ids[at]) - _of(log_p, ref.ids[at])
            scored.add("llr", ratio.sum())

        return Pass(ids, use)

    def _combs(
        self, scored: Scored, view: View, sign: int, names: Sequence[str], reverse: bool
    ) -> Iterator[Pass]:
        """Log-likelihood over chance of the letters that are looked at, each hidden once."""
        real = view.ids < REAL
        wanted = np.zeros(len(view), np.bool_)
        wanted[scored.looked_at(view)] = True
        wanted &= real
        phases = view.place % self.scoring.mask_every
        for name in names:
            scored.add(name, torch.zeros((), device=self.network.device))
        for phase in np.unique(phases[wanted]):
            hidden = phases == phase
            at = np.flatnonzero(hidden & wanted)
            ids = view.ids.copy()
            ids[hidden & real] = DNA.mask_id

            def use(features: Tensor, at: NDArray[np.int64] = at) -> None:
                log_p = _of(self._likelihoods(features[at], reverse), view.ids[at])
                for name in names:
                    scored.add(name, sign * (log_p - CHANCE).sum())

            yield Pass(ids, use)

    def _vectors(self, scored: Scored) -> Iterator[Pass]:
        """Mean features: of what is looked at; in a window, of all."""
        windowed = self.scoring.window is not None
        for row, view in enumerate((scored.pair.ref, scored.pair.alt)):
            part = slice(None) if windowed else scored.looked_at(view)

            def use(features: Tensor, row: int = row, part: slice = part) -> None:
                both = features.new_zeros(2, features.shape[1])
                both[row] = features[part].mean(0)
                scored.add("vectors", both)

            yield Pass(view.ids, use)

    def _outputs(self, scored: Scored, reverse: bool) -> Iterator[Pass]:
        """Change of the outputs: of a sequence, or of the letters that both sequences have."""
        sequence = self.network.head_type == "sequence"
        equal = _width(scored.pair.ref) == _width(scored.pair.alt)
        for view, sign in ((scored.pair.ref, -1), (scored.pair.alt, 1)):
            looked = np.arange(len(view))[scored.looked_at(view)]
            common = looked if equal else looked[(looked < view.first) | (looked >= view.last)]

            def use(features: Tensor, sign: int = sign, at: NDArray[np.int64] = common) -> None:
                outputs = self.network.outputs(features[None])[0]
                if sequence:
                    scored.add("head", sign * outputs)
                else:
                    kept = outputs[at]
                    scored.add("changes", sign * (kept[:, self.opposite] if reverse else kept))

            yield Pass(view.ids, use)

    def _likelihoods(self, features: Tensor, reverse: bool) -> Tensor:
        """Log-probabilities (m, 4) of the bases on the forward strand, from features (m, D)."""
        log_p = likelihoods(self.network, features[None])[0]
        return log_p[:, list(DNA.complement_ids[:REAL])] if reverse else log_p


def _width(view: View) -> int:
    return view.last - view.first


def _of(log_p: Tensor, letters: Ids) -> Tensor:
    """Entries of (m, 4) for letters (m,)."""
    index = torch.from_numpy(letters.astype(np.int64)).to(log_p.device)
    return log_p.gather(1, index[:, None])[:, 0]


def _batches(passes: Sequence[Pass], letters: int) -> Iterator[list[Pass]]:
    """Passes of one length together, at most so many letters at once.

    By powers of two: a few shapes that come again and again take less time and memory than many,
    as in `variant_substitutions`.
    """
    by_length: dict[int, list[Pass]] = {}
    for one in passes:
        by_length.setdefault(len(one.ids), []).append(one)
    for length, same in by_length.items():
        most = max(1, letters // max(1, length))
        at = 0
        while at < len(same):
            size = 1 << (min(most, len(same) - at).bit_length() - 1)
            yield same[at : at + size]
            at += size
