"""The naive way to every score, on whole chromosomes or windows, for the tests of variants."""

from collections.abc import Sequence

import numpy as np
import torch

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.forward.network import Network
from helicon.inference.variants.alleles import Edit
from helicon.inference.variants.scoring import Scoring

REAL = 4


def edit(genome: Genome, chrom: int, start: int, length: int, alt: str) -> Edit:
    """The replacement of what the genome has."""
    return Edit(chrom, start, genome.fetch(chrom, start, start + length).tobytes(), ids(alt))


def ids(letters: str) -> bytes:
    return DNA.encode(letters).tobytes()


def substitution(genome: Genome, chrom: int, start: int, by: Sequence[int] = (1,)) -> Edit:
    """Letters `by` further on in the alphabet (0: the same)."""
    ref = genome.fetch(chrom, start, start + len(by))
    return Edit(chrom, start, ref.tobytes(), bytes((ref + np.array(by, np.uint8)) % 4))


def apply(letters: np.ndarray, edits: Sequence[Edit]) -> np.ndarray:
    """A sequence with edits, from the last to the first."""
    for one in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        new = np.frombuffer(one.alt, np.uint8)
        letters = np.concatenate([letters[: one.start], new, letters[one.end :]])
    return letters


def leftmost(ref: np.ndarray, alt: np.ndarray) -> tuple[int, int]:
    """The stretch of `ref` that differs from `alt`, as far to the left as it can be."""
    same, most = 0, min(len(ref), len(alt))
    while same < most and ref[-1 - same] == alt[-1 - same]:
        same += 1
    first, most = 0, most - same
    while first < most and ref[first] == alt[first]:
        first += 1
    return first, len(ref) - same


class Naive:
    """Two full forward passes for every score, of sequences cut by hand."""

    def __init__(self, network: Network, genome: Genome, scoring: Scoring):
        self.network, self.genome, self.scoring = network, genome, scoring

    def score(self, own: Edit, background: Sequence[Edit] = ()) -> dict[str, np.ndarray]:
        length = int(self.genome.lengths[own.chrom])
        whole = self.genome.fetch(own.chrom, 0, length)
        shift = sum(len(e.alt) - len(e.ref) for e in background if e.end <= own.start)
        ref, alt = apply(whole, background), apply(whole, [*background, own])
        first, last = leftmost(ref, alt) if not own.ref or not own.alt else (
            own.start + shift, own.end + shift
        )  # fmt: skip
        cut = []
        for letters in (ref, alt):
            end = last + len(letters) - len(ref)
            place = np.arange(len(letters)) - shift
            place[end:] -= end - last
            one = letters, place, first, end
            cut.append(one if self.scoring.window is None else self._window(one, shift))
        return self._scores(*cut)

    def _window(self, one, shift):
        letters, place, first, last = one
        size = self.scoring.window
        start = (first + last) // 2 - size // 2
        start = start - (start - shift) % self.scoring.window_step
        start = max(0, min(start, len(letters) - size))
        part = slice(start, start + size)
        return letters[part], place[part], first - start, last - start

    def _scores(self, ref, alt):
        sides = [self._side(ref, alt, reverse) for reverse in self.scoring.strands]
        mean = {name: sum(side[name] for side in sides) / len(sides) for name in sides[0]}
        a, b = mean.pop("vectors")
        found = {"euclidean": np.linalg.norm(b - a)}
        found["cosine"] = 1 - (a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
        if "changes" in mean:
            changes = mean.pop("changes")
            at = np.abs(changes).argmax(0)
            found["head"] = changes[at, np.arange(changes.shape[1])]
        return found | mean

    def _side(self, ref, alt, reverse):
        found = {"vectors": np.stack([self._vector(one, ref, alt, reverse) for one in (ref, alt)])}
        network = self.network
        if network.head_type == "language":
            both = [self._pseudo(one, ref, alt, reverse) for one in (ref, alt)]
            found["pseudo-likelihood"] = both[1] - both[0]
            found["llr"] = found["pseudo-likelihood"]
            if ref[3] - ref[2] == alt[3] - alt[2]:
                found["llr"] = self._llr(ref, alt, reverse)
        elif network.head_type == "sequence":
            a, b = (self._outputs(one[0], reverse) for one in (ref, alt))
            found["head"] = b - a
        else:
            a, b = (
                self._outputs(one[0], reverse)[self._common(one, ref, alt)] for one in (ref, alt)
            )
            found["changes"] = b - a
        return found

    def _llr(self, ref, alt, reverse):
        at = np.flatnonzero(ref[0] != alt[0])
        hidden = ref[0].copy()
        hidden[at] = DNA.mask_id
        log_p = self._outputs(hidden, reverse)[at]
        rows = np.arange(len(at))
        return (log_p[rows, alt[0][at]] - log_p[rows, ref[0][at]]).sum()

    def _pseudo(self, one, ref, alt, reverse):
        letters, place, first, last = one
        left, right = self._flanks(ref, alt)
        total = 0.0
        at = np.arange(first - left, last + right)
        for phase in range(self.scoring.mask_every):
            unseen = (place % self.scoring.mask_every == phase) & (letters < REAL)
            hidden = np.where(unseen, DNA.mask_id, letters).astype(np.uint8)
            log_p = torch.from_numpy(self._outputs(hidden, reverse)[:, :REAL]).log_softmax(-1)
            here = at[unseen[at]]
            total += float((log_p[here, letters[here].astype(np.int64)] + np.log(4)).sum())
        return total

    def _flanks(self, ref, alt):
        left = min(ref[2], alt[2])
        right = min(len(ref[0]) - ref[3], len(alt[0]) - alt[3])
        if self.scoring.window is None:
            left, right = min(left, self.network.halo), min(right, self.network.halo)
        return left, right

    def _common(self, one, ref, alt):
        left, right = self._flanks(ref, alt)
        _, _, first, last = one
        inside = np.arange(first, last) if ref[3] - ref[2] == alt[3] - alt[2] else np.arange(0)
        flanks = np.arange(first - left, first), inside, np.arange(last, last + right)
        return np.concatenate(flanks)

    def _vector(self, one, ref, alt, reverse):
        features = self._features(one[0], reverse)[0]
        if self.scoring.window is None:
            left, right = self._flanks(ref, alt)
            features = features[one[2] - left : one[3] + right]
        return features.mean(0).double().numpy()

    def _features(self, letters, reverse):
        turned = DNA.reverse_complement(letters) if reverse else letters
        features = self.network.features(np.ascontiguousarray(turned[None]))
        return features.flip(1) if reverse else features

    def _outputs(self, letters, reverse):
        outputs = self.network.outputs(self._features(letters, reverse))[0]
        return (outputs[..., self.network.opposite] if reverse else outputs).double().numpy()
