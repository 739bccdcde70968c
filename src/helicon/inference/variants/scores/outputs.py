"""What an allele changes in the outputs of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from helicon.forward.network import Network
from helicon.inference.variants.scores.changes import Side
from helicon.inference.variants.scores.score import FromFeatures, Pass, Score, Strand
from helicon.inference.variants.views import Pair
from helicon.models.parts.substitutions import Changed

#: Numbers in the features of whole windows that are held at once.
FEATURES = 2**22


class OutputChanges(FromFeatures):
    """Change of the outputs of a sequence, (K,), or at every letter that both have, (S, K)."""

    def of_pair(self, pair: Pair, strand: Strand) -> Iterator[Pass]:
        """See `Evidence`."""
        sequence = strand.network.head_type == "sequence"
        for view, sign in ((pair.ref, -1), (pair.alt, 1)):
            at = np.arange(len(view))[strand.looked_at(pair, view)]
            if not pair.substitution:
                at = at[(at < view.first) | (at >= view.last)]

            def give(features: Tensor, sign: int = sign, at: np.ndarray = at) -> Tensor:
                outputs = sign * strand.outputs(features)
                return outputs if sequence else outputs[at]

            yield Pass(view.ids, give)

    def of_changed(self, side: Side, changed: Changed) -> Tensor:
        """See `FromFeatures`."""
        if side.network.head_type == "sequence":
            return self._of_sequences(side, changed)
        places, inside = changed.places.clamp(0, changed.length - 1), changed.valid[..., None]
        before = side.network.outputs(side.reference.features[None])[0]
        changes = (side.network.outputs(changed.features) - before[places]) * inside
        opposite = torch.from_numpy(side.network.opposite).to(changes.device)
        return changes.flip(1)[..., opposite] if side.reverse else changes

    def _of_sequences(self, side: Side, changed: Changed) -> Tensor:
        """Change of the outputs of a sequence, (n, K)."""
        features = side.reference.features
        before = side.network.outputs(features[None])
        places, inside = changed.places, changed.valid
        at_once = max(1, FEATURES // features.numel())
        parts = []
        for first in range(0, len(places), at_once):
            part = slice(first, first + at_once)
            row, column = inside[part].nonzero(as_tuple=True)
            whole = features.repeat(len(places[part]), 1, 1)
            whole[row, places[part][row, column]] = changed.features[part][row, column]
            parts.append(side.network.outputs(whole) - before)
        return torch.cat(parts)


def largest(changes: Tensor) -> Tensor:
    """Changes (n, K) as they are; of those at positions (n, S, K), that of largest size."""
    if changes.ndim == 2:
        return changes
    at = changes.abs().argmax(1, keepdim=True)
    return changes.gather(1, at)[:, 0]


def _refuses(network: Network) -> str:
    if not network.pools_cls:
        return ""
    return (
        "this model pools CLS tokens, which every variant changes; choose euclidean or cosine, or "
        "a model fine-tuned with another pooling"
    )


HEAD = Score(
    "head",
    "change from REF to ALT of the model's output",
    OutputChanges(),
    heads=("sequence", "token"),
    compare=largest,
    by_output=True,
    refuses=_refuses,
)
