"""Scores of substitutions, from what they change in a pass that neighbouring variants share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.forward.network import Network
from helicon.forward.substitutions import Differences
from helicon.inference.variants.alleles import Edit
from helicon.inference.variants.scores import REAL, Scoring, distances, largest, likelihoods
from helicon.models.parts.substitutions import Changed, Reference

#: Letters of the longest substitution that is computed as a difference.
WIDEST = 32
#: Activations (letters x channels) of a stretch of reference, all of which are kept.
STRETCH = 2**19
#: Substitutions whose scores are held at once, and numbers in their features of whole windows.
ROWS, FEATURES = 512, 2**22

_COMPLEMENT = torch.tensor(DNA.complement_table.astype(np.int64))


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


@dataclass(frozen=True, eq=False)
class Group:
    """Substitutions of one width, in a sequence.

    Attributes:
        rows: which edits, (n,).
        positions: first letter of each in the sequence, (n,).
        ref: ids replaced, (n, w).
        alt: ids that come in their place, (n, w).
    """

    rows: NDArray[np.int64]
    positions: Tensor
    ref: Tensor
    alt: Tensor

    @property
    def places(self) -> Tensor:
        """The letters substituted, (n, w)."""
        return self.positions[:, None] + torch.arange(
            self.ref.shape[1], device=self.positions.device
        )

    def turned(self, length: int) -> Group:
        """The same on the other strand of a sequence of `length`."""
        table = _COMPLEMENT.to(self.ref.device)
        positions = length - self.positions - self.ref.shape[1]
        return Group(self.rows, positions, table[self.ref].flip(1), table[self.alt].flip(1))


@dataclass(frozen=True, eq=False)
class Side:
    """One strand of a stretch.

    Attributes:
        reverse: whether it is the reverse strand.
        ids: letters, (L,).
        phase: which pass of a pseudo-likelihood hides a letter, (L,).
    """

    reverse: bool
    ids: Tensor
    phase: Tensor


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
        self.opposite = torch.from_numpy(network.opposite).to(network.device)

    @staticmethod
    def can(edit: Edit) -> bool:
        """Whether an edit is a substitution of a few letters."""
        return len(edit.ref) == len(edit.alt) <= WIDEST

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
        return Side(reverse, self.network.tokens(ids), phase.flip(0) if reverse else phase)

    # ------------------------------------------------------------ what

    def _scores(self, stretch: Stretch, groups: Sequence[Group]) -> Iterator[Tensor]:
        """Scores (n, columns) of each group, on the strands that are looked at."""
        raw: list[list[dict[str, Tensor]]] = [[] for _ in groups]
        for reverse in self.scoring.strands:
            side = self._side(stretch, reverse)
            turned = [g.turned(len(side.ids)) for g in groups] if reverse else groups
            for kept, found in zip(raw, self._on(side, turned), strict=True):
                kept.append(found)
        for sides in raw:
            mean = {name: sum(s[name] for s in sides) / len(sides) for name in sides[0]}
            yield self._columns(mean)  # type: ignore[arg-type]

    def _columns(self, mean: dict[str, Tensor]) -> Tensor:
        """What is asked, of values averaged over the strands."""
        if "vectors" in mean:
            mean |= distances(mean["vectors"])
        if "changes" in mean:
            mean["head"] = largest(mean["changes"])
        columns = [mean[name] for name in self.scoring.scores]
        return torch.cat([c if c.ndim == 2 else c[:, None] for c in columns], dim=1)

    def _on(self, side: Side, groups: Sequence[Group]) -> list[dict[str, Tensor]]:
        """Values of each group on one strand, positions in the order of the forward strand."""
        found: list[dict[str, Tensor]] = [{} for _ in groups]
        wanted = set(self.scoring.scores)
        if wanted - {"pseudo-likelihood"}:
            reference = self.differences.reference(side.ids)
            for values, group in zip(found, groups, strict=True):
                if "llr" in wanted:
                    values["llr"] = self._llr(reference, group)
                if wanted & {"embedding", "cosine", "head"}:
                    values |= self._changed(side, reference, group)
        if "pseudo-likelihood" in wanted:
            sums = self._pseudo_likelihoods(side, groups)
            for values, one in zip(found, sums, strict=True):
                values["pseudo-likelihood"] = one
        return found

    def _llr(self, reference: Reference, group: Group) -> Tensor:
        """Log-ratio of both alleles where they differ, with these letters hidden, (n,)."""
        differ = group.ref != group.alt
        hidden = group.ref.masked_fill(differ, DNA.mask_id)
        parts = []
        for part, changed in self.differences.of(reference, group.positions, hidden, "substituted"):
            log_p = likelihoods(self.network, changed.features)
            ratio = _of(log_p, group.alt[part]) - _of(log_p, group.ref[part])
            parts.append((ratio * differ[part]).sum(1))
        return torch.cat(parts)

    def _pseudo_likelihoods(self, side: Side, groups: Sequence[Group]) -> list[Tensor]:
        """Change of the log-likelihood of all letters, each hidden once, (n,) a group."""
        sums = [torch.zeros(len(g.rows), device=self.network.device) for g in groups]
        for phase in range(self.scoring.mask_every):
            hidden = (side.phase == phase) & (side.ids < REAL)
            reference = self.differences.reference(side.ids.masked_fill(hidden, DNA.mask_id))
            log_p = likelihoods(self.network, reference.features)
            for total, group in zip(sums, groups, strict=True):
                total += self._hidden(side, hidden, reference, log_p, group)
        return sums

    def _hidden(
        self, side: Side, hidden: Tensor, reference: Reference, log_p: Tensor, group: Group
    ) -> Tensor:
        """Change of the log-likelihood of the letters hidden in one pass, (n,)."""
        unseen = hidden[group.places]
        here = log_p[group.places]
        ratio = _of(here, group.alt) - _of(here, group.ref)
        total = (ratio * unseen).sum(1)  # right where the network sees no difference
        seen = ((group.ref != group.alt) & ~unseen).any(1).nonzero()[:, 0]
        if not len(seen):
            return total
        known = _of(log_p, side.ids.clamp(max=REAL - 1))
        tokens = group.alt.masked_fill(unseen, DNA.mask_id)[seen]
        for part, changed in self.differences.of(reference, group.positions[seen], tokens):
            rows = seen[part]
            places, inside = changed.places.clamp(0, changed.length - 1), changed.valid
            letters = side.ids[places].scatter(
                1, group.places[rows] - changed.start[:, None], group.alt[rows]
            )
            changes = (
                _of(likelihoods(self.network, changed.features), letters.clamp(max=REAL - 1))
                - known[places]
            )
            total[rows] = (changes * (inside & hidden[places])).sum(1)
        return total

    def _changed(self, side: Side, reference: Reference, group: Group) -> dict[str, Tensor]:
        """Mean features without and with each edit, and what changes in the outputs of a head."""
        vectors, outputs = [], []
        for _, changed in self.differences.of(reference, group.positions, group.alt):
            if {"embedding", "cosine"} & set(self.scoring.scores):
                vectors.append(self._vectors(reference, changed))
            if "head" in self.scoring.scores and self.network.head_type == "sequence":
                outputs.append(self._sequence_outputs(reference, changed))
            elif "head" in self.scoring.scores:
                outputs.append(self._token_outputs(side, reference, changed))
        name = "head" if self.network.head_type == "sequence" else "changes"
        found = {"vectors": vectors, name: outputs}
        return {name: torch.cat(parts) for name, parts in found.items() if parts}

    def _vectors(self, reference: Reference, changed: Changed) -> Tensor:
        """Mean features without and with each edit, (n, 2, D).

        Of the positions that it changes; in a window, of all.
        """
        places, inside = changed.places.clamp(0, changed.length - 1), changed.valid[..., None]
        before = (reference.features[places] * inside).sum(1)
        after = (changed.features * inside).sum(1)
        if self.reach.window is None:
            return torch.stack([before, after], 1) / inside.sum(1, keepdim=True)
        mean = reference.features.mean(0)
        return torch.stack([mean.expand_as(before), mean + (after - before) / changed.length], 1)

    def _token_outputs(self, side: Side, reference: Reference, changed: Changed) -> Tensor:
        """Change of the outputs at the positions that each edit changes, (n, S, K)."""
        places, inside = changed.places.clamp(0, changed.length - 1), changed.valid[..., None]
        before = self.network.outputs(reference.features[None])[0]
        changes = (self.network.outputs(changed.features) - before[places]) * inside
        return changes.flip(1)[..., self.opposite] if side.reverse else changes

    def _sequence_outputs(self, reference: Reference, changed: Changed) -> Tensor:
        """Change of the outputs of a sequence, (n, K)."""
        before = self.network.outputs(reference.features[None])
        places, inside = changed.places, changed.valid
        at_once = max(1, FEATURES // reference.features.numel())
        parts = []
        for first in range(0, len(places), at_once):
            part = slice(first, first + at_once)
            row, column = inside[part].nonzero(as_tuple=True)
            whole = reference.features.repeat(len(places[part]), 1, 1)
            whole[row, places[part][row, column]] = changed.features[part][row, column]
            parts.append(self.network.outputs(whole) - before)
        return torch.cat(parts)


def _rounded(number: int) -> int:
    """The next number of three binary digits and zeros.

    For each shape of its input a convolution library keeps a program of its own: a few shapes that
    come again and again take less time and memory than many.
    """
    unit = 1 << max(0, number.bit_length() - 3)
    return -(-number // unit) * unit


def _of(log_p: Tensor, letters: Tensor) -> Tensor:
    """Entries of (..., 4) for letters (...)."""
    return log_p.gather(-1, letters[..., None])[..., 0]
