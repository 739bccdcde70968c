"""Distances between what a network makes of the sequences without and with an allele."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from helicon.forward.network import HeadType
from helicon.inference.variants.scores.changes import Side
from helicon.inference.variants.scores.score import FromFeatures, Pass, Score, Strand
from helicon.inference.variants.views import Pair
from helicon.models.parts.substitutions import Changed

_ANY: tuple[HeadType, ...] = ("language", "sequence", "token", "bare")


class MeanFeatures(FromFeatures):
    """Mean features without and with the allele, (2, D): of what is looked at, or of a window."""

    def of_pair(self, pair: Pair, strand: Strand) -> Iterator[Pass]:
        """See `Evidence`."""
        for row, view in enumerate((pair.ref, pair.alt)):
            part = slice(None) if strand.windowed else strand.looked_at(pair, view)

            def give(features: Tensor, row: int = row, part: slice = part) -> Tensor:
                both = features.new_zeros(2, features.shape[1])
                both[row] = features[part].mean(0)
                return both

            yield Pass(view.ids, give)

    def of_changed(self, side: Side, changed: Changed) -> Tensor:
        """See `FromFeatures`."""
        places, inside = changed.places.clamp(0, changed.length - 1), changed.valid[..., None]
        features = side.reference.features
        before = (features[places] * inside).sum(1)
        after = (changed.features * inside).sum(1)
        if not side.windowed:
            return torch.stack([before, after], 1) / inside.sum(1, keepdim=True)
        mean = features.mean(0)
        return torch.stack([mean.expand_as(before), mean + (after - before) / changed.length], 1)


def euclidean(means: Tensor) -> Tensor:
    """Length of the difference of two vectors, of (n, 2, D)."""
    ref, alt = means.unbind(1)
    return (alt - ref).norm(dim=1)


def cosine(means: Tensor) -> Tensor:
    """One minus the cosine of the angle between two vectors, of (n, 2, D)."""
    ref, alt = means.unbind(1)
    return 1 - torch.nn.functional.cosine_similarity(ref, alt, dim=1)


EUCLIDEAN = Score(
    "euclidean",
    "Euclidean distance between the mean features with REF and with ALT",
    MeanFeatures(),
    heads=_ANY,
    compare=euclidean,
    former=("embedding",),
)
COSINE = Score(
    "cosine",
    "cosine distance between the mean features with REF and with ALT",
    MeanFeatures(),
    heads=_ANY,
    compare=cosine,
)
