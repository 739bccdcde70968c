"""Scores of language models: what they expect where an allele stands, and around it.

- Masked marginal, of alleles of one length: the letters that differ are hidden, all at once, in the
  sequence x without the allele, and the model is asked for them (Meier et al., "Language models
  enable zero-shot prediction of the effects of mutations on protein function", 2021, equation 1):
  the sum over these i of log p(alt_i | x with them hidden) - log p(ref_i | x with them hidden).
- Pseudo-likelihood (Salazar et al., "Masked language model scoring", 2020, equation 1), of a
  sequence: the sum over its letters of log p(x_i | x with i hidden) - log(1/4); of an allele, that
  of the sequence with it minus that of the one without. Every so many-th letter is hidden in one
  pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA, Ids
from helicon.inference.variants.scores.changes import Group, Side
from helicon.inference.variants.scores.score import (
    REAL,
    FromSubstitutions,
    Pass,
    Score,
    Strand,
    entries,
    likelihoods,
)
from helicon.inference.variants.views import Pair, View
from helicon.models.parts.substitutions import Reference

#: Log-likelihood of a base of which nothing is known: what an inserted base is measured by.
CHANCE = -math.log(REAL)


class PseudoLikelihood(FromSubstitutions):
    """Change of the log-likelihood, over chance, of the letters that are looked at."""

    def of_pair(self, pair: Pair, strand: Strand) -> Iterator[Pass]:
        """See `Evidence`."""
        for view, sign in ((pair.ref, -1), (pair.alt, 1)):
            yield from self._combs(view, strand.looked_at(pair, view), sign, strand)

    def _combs(self, view: View, part: slice, sign: int, strand: Strand) -> Iterator[Pass]:
        """Each letter that is looked at is hidden once."""
        real = view.ids < REAL
        wanted = np.zeros(len(view), np.bool_)
        wanted[part] = True
        phases = view.place % strand.mask_every
        for phase in np.unique(phases[wanted]):
            hidden = (phases == phase) & real
            at = np.flatnonzero(hidden & wanted)
            ids = np.where(hidden, np.uint8(DNA.mask_id), view.ids)

            def give(features: Tensor, at: NDArray[np.int64] = at) -> Tensor:
                log_p = entries(strand.likelihoods(features[at]), _letters(view.ids[at], features))
                return sign * (log_p - CHANCE).sum()

            yield Pass(ids, give)

    def of_groups(self, side: Side, groups: Sequence[Group]) -> list[Tensor]:
        """See `FromSubstitutions`."""
        sums = [torch.zeros(len(g.rows), device=side.ids.device) for g in groups]
        for phase in range(side.mask_every):
            hidden = (side.phase == phase) & (side.ids < REAL)
            reference = side.differences.reference(side.ids.masked_fill(hidden, DNA.mask_id))
            log_p = likelihoods(side.network, reference.features)
            for total, group in zip(sums, groups, strict=True):
                total += self._hidden(side, hidden, reference, log_p, group)
        return sums

    def _hidden(
        self, side: Side, hidden: Tensor, reference: Reference, log_p: Tensor, group: Group
    ) -> Tensor:
        """Change of the log-likelihood of the letters hidden in one pass, (n,)."""
        unseen = hidden[group.places]
        here = log_p[group.places]
        ratio = entries(here, group.alt) - entries(here, group.ref)
        total = (ratio * unseen).sum(1)  # right where the network sees no difference
        seen = ((group.ref != group.alt) & ~unseen).any(1).nonzero()[:, 0]
        if not len(seen):
            return total
        known = entries(log_p, side.ids.clamp(max=REAL - 1))
        tokens = group.alt.masked_fill(unseen, DNA.mask_id)[seen]
        for part, changed in side.differences.of(reference, group.positions[seen], tokens):
            rows = seen[part]
            places, inside = changed.places.clamp(0, changed.length - 1), changed.valid
            letters = side.ids[places].scatter(
                1, group.places[rows] - changed.start[:, None], group.alt[rows]
            )
            log_p = likelihoods(side.network, changed.features)
            changes = entries(log_p, letters.clamp(max=REAL - 1)) - known[places]
            total[rows] = (changes * (inside & hidden[places])).sum(1)
        return total


class LogLikelihoodRatio(FromSubstitutions):
    """Masked marginal of alleles of one length, pseudo-likelihood of others."""

    def of_pair(self, pair: Pair, strand: Strand) -> Iterator[Pass]:
        """See `Evidence`."""
        if not pair.substitution:
            yield from PSEUDO_LIKELIHOOD.evidence.of_pair(pair, strand)
            return
        ref, alt = pair.ref.ids, pair.alt.ids
        at = np.flatnonzero(ref != alt)
        hidden = ref.copy()
        hidden[at] = DNA.mask_id

        def give(features: Tensor) -> Tensor:
            log_p = strand.likelihoods(features[at])
            old, new = (_letters(one[at], features) for one in (ref, alt))
            return (entries(log_p, new) - entries(log_p, old)).sum()

        yield Pass(hidden, give)

    def of_groups(self, side: Side, groups: Sequence[Group]) -> list[Tensor]:
        """See `FromSubstitutions`."""
        return [self._masked(side, group) for group in groups]

    def _masked(self, side: Side, group: Group) -> Tensor:
        """Log-ratio of both alleles where they differ, with these letters hidden, (n,)."""
        differ = group.ref != group.alt
        hidden = group.ref.masked_fill(differ, DNA.mask_id)
        parts = []
        for part, changed in side.differences.of(
            side.reference, group.positions, hidden, "substituted"
        ):
            log_p = likelihoods(side.network, changed.features)
            ratio = entries(log_p, group.alt[part]) - entries(log_p, group.ref[part])
            parts.append((ratio * differ[part]).sum(1))
        return torch.cat(parts)


def _letters(ids: Ids, features: Tensor) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64)).to(features.device)


PSEUDO_LIKELIHOOD = Score(
    "pseudo-likelihood",
    "change of the pseudo-log-likelihood from REF to ALT",
    PseudoLikelihood(),
    heads=("language",),
    options=("mask_every",),
)
LLR = Score(
    "llr",
    "log-likelihood ratio of ALT to REF (natural logarithm)",
    LogLikelihoodRatio(),
    heads=("language",),
    options=("mask_every",),
)
