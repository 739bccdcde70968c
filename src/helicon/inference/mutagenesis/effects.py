"""What substitutions do to a model's outputs, as numbers: the scores of mutagenesis.

Of a language model, with log-probabilities over the bases A, C, G and T:

- `masked`: log p(alternative) - log p(reference) at the position, while it is hidden;
- `effect`: the change of log p(base that is there), summed over all other positions;
- `likelihood`: the same summed over all positions, at the substituted one for the reference base.

Of a model with a supervised head, one number for each of its labels:

- `logit`, of a class or label; `probability` of it; `value` of a regression: their change. For a
  model of positions, the change summed over the affected positions, or at the substituted one.

Of any model:

- `distance`: the Euclidean distance that the features move, a mean over the affected positions.

Sums and distances run over all positions that a substitution can affect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA, Ids
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.forward.pooling import PooledHead
from helicon.forward.substitutions import Differences
from helicon.models.parts.substitutions import Changed, Reference, Where

BASES = len(DNA.real)
_SURROUNDINGS = ("effect", "likelihood")
#: Scores by the names that they had in version 0.1.
_RENAMED = {"embedding": "distance"}
_LANGUAGE = ("masked", *_SURROUNDINGS, "distance")


def known_scores(network: Network) -> tuple[str, ...]:
    """Scores that a model can be asked for; the first is what it is asked for by itself."""
    if network.head_type == "language":
        return _LANGUAGE
    if network.head_type == "bare":
        return ("distance",)
    ours = ("value",) if network.problem == "regression" else ("logit", "probability")
    return (*ours, "distance")


@dataclass(frozen=True)
class Wanted:
    """Which scores, of which outputs.

    Attributes:
        scores: of `known_scores`.
        outputs: indices of a head's labels.
        where: a model of positions: where its outputs are looked at.
    """

    scores: tuple[str, ...]
    outputs: tuple[int, ...] = ()
    where: Where = "affected"

    @classmethod
    def of(
        cls, network: Network, scores: Sequence[str], outputs: Sequence[str], where: Where
    ) -> Wanted:
        """Choose by name; what the model gives by itself where nothing is named.

        Raises:
            InputError: the model gives no such score or output.
        """
        known = known_scores(network)
        scores = [_RENAMED.get(one, one) for one in scores]
        for one in scores:
            if one not in known:
                raise InputError(f"score: {one!r} is none of this model's: {', '.join(known)}")
        headed = network.head_type in ("sequence", "token")
        if outputs and not headed:
            raise InputError("output: this model has no labels; leave it out")
        for label in outputs:
            if label not in network.labels:
                labels = ", ".join(network.labels)
                raise InputError(f"output: {label!r} is none of this model's labels: {labels}")
        if where == "substituted" and network.head_type != "token":
            raise InputError("over: only a model of positions has outputs at the substituted one")
        indices = [network.labels.index(label) for label in outputs or network.labels]
        return cls(tuple(scores) or known[:1], tuple(indices) if headed else (), where)

    def columns(self, network: Network) -> tuple[str, ...]:
        """Names of the scores' columns, a label's name behind those that have one."""
        names: list[str] = []
        for score in self.scores:
            if score in (*_LANGUAGE, "distance"):
                names.append(score)
            else:
                names += [f"{score}_{network.labels[k]}" for k in self.outputs]
        return tuple(names)

    def opposite(self, network: Network) -> Wanted:
        """The same asked of the other strand."""
        turned = tuple(int(network.opposite[k]) for k in self.outputs)
        return Wanted(self.scores, turned, self.where)


class Effects:
    """Scores of substitutions.

    Args:
        network: the network.
        wanted: which scores.
        differences: of the network, if they are at hand.
    """

    def __init__(self, network: Network, wanted: Wanted, differences: Differences | None = None):
        self.network, self.wanted = network, wanted
        self.differences = differences or Differences(network)

    def of(
        self, ids: Ids, positions: NDArray[np.integer], alternatives: Ids
    ) -> NDArray[np.float32]:
        """Scores of substitutions in one sequence.

        Args:
            ids: token ids (L,) of the sequence, which is taken as whole.
            positions: 0-based, (n,), ascending for speed.
            alternatives: id of the letter that stands there instead, (n,).

        Returns:
            (n, columns), in the order of `Wanted.columns`.
        """
        reference = self.differences.reference(ids)
        at = torch.from_numpy(np.asarray(positions, dtype=np.int64)).to(self.network.device)
        new = torch.from_numpy(alternatives.astype(np.int64)).to(self.network.device)
        affected = [score for score in self.wanted.scores if score != "masked"]
        found = self._affected(reference, at, new, affected) if affected else {}
        if "masked" in self.wanted.scores:
            found["masked"] = self._masked(reference, at, new)
        return torch.cat([found[score] for score in self.wanted.scores], dim=1).cpu().numpy()

    def _masked(self, reference: Reference, positions: Tensor, new: Tensor) -> Tensor:
        """One hidden position serves all its alternatives."""
        places, row = positions.unique_consecutive(return_inverse=True)
        hidden = torch.full_like(places, DNA.mask_id)
        logits = places.new_empty((len(places), BASES), dtype=torch.float32)
        for part, changed in self.differences.of(reference, places, hidden, "substituted"):
            logits[part] = self.network.head(changed.features)[:, 0, :BASES]
        old = reference.ids[positions]
        rows = logits[row]
        return rows.gather(1, new[:, None]) - rows.gather(1, old[:, None])

    def _affected(
        self, reference: Reference, positions: Tensor, new: Tensor, scores: Sequence[str]
    ) -> dict[str, Tensor]:
        known = {score: self._known(reference, score) for score in scores}
        found: dict[str, list[Tensor]] = {score: [] for score in scores}
        narrow = self.wanted.where == "substituted" and "distance" not in scores
        where: Where = "substituted" if narrow else "affected"
        for part, changed in self.differences.of(reference, positions, new, where):
            for score in scores:
                found[score].append(self._score(score, known[score], changed, positions[part]))
        return {score: torch.cat(parts) for score, parts in found.items()}

    def _known(self, reference: Reference, score: str) -> Any:
        """What is needed of the reference for a score."""
        if score == "distance":
            return reference.features
        if score in _SURROUNDINGS:
            return _LogLikelihood.of(self.network, reference)
        if self.network.head_type == "sequence":
            return PooledHead.of(self.network, reference.features)
        return self._outputs(score, self.network.head(reference.features[None])[0])

    def _outputs(self, score: str, logits: Tensor) -> Tensor:
        """The wanted outputs (..., wanted) of logits (..., K), in the unit of the score."""
        if score == "probability":
            single = self.network.problem == "single_label"
            logits = logits.softmax(-1) if single else logits.sigmoid()
        return logits[..., list(self.wanted.outputs)]

    def _score(self, score: str, known: Any, changed: Changed, positions: Tensor) -> Tensor:
        """Scores (n, columns)."""
        if score in _SURROUNDINGS:
            own = None if score == "likelihood" else positions
            return known.change(self.network, changed, own)[:, None]
        valid = changed.valid
        places = changed.places.clamp(0, changed.length - 1)
        if score == "distance":
            distance = (changed.features - known[places]).norm(dim=-1).masked_fill(~valid, 0)
            return (distance.sum(1) / valid.sum(1))[:, None]
        if self.network.head_type == "sequence":
            new, old = (self._outputs(score, logits) for logits in known.logits(changed))
            return new - old
        # Positions first: so the features lie in memory, and need no copy.
        logits = self.network.head(changed.features.transpose(0, 1)).transpose(0, 1)
        moved = (self._outputs(score, logits) - known[places]).masked_fill(~valid[..., None], 0)
        if self.wanted.where == "substituted":
            moved = moved.masked_fill((changed.places != positions[:, None])[..., None], 0)
        return moved.sum(1)


@dataclass(frozen=True)
class _LogLikelihood:
    """Log-probabilities of the bases of a sequence (L,), and which positions have a base."""

    bases: Tensor
    real: Tensor
    values: Tensor

    @classmethod
    def of(cls, network: Network, reference: Reference) -> _LogLikelihood:
        real = reference.ids < BASES
        bases = reference.ids.clamp(max=BASES - 1)
        logits = network.head(reference.features[None])[0, :, :BASES]
        return cls(bases, real, _chosen(logits, bases))

    def change(self, network: Network, changed: Changed, own: Tensor | None) -> Tensor:
        """Sum of changes (n,), but at `own` positions (n,)."""
        places = changed.places.clamp(0, changed.length - 1)
        logits = network.head(changed.features.transpose(0, 1))[..., :BASES]
        moved = _chosen(logits, self.bases[places.T]).T - self.values[places]
        counted = changed.valid & self.real[places]
        if own is not None:
            counted &= changed.places != own[:, None]
        return moved.masked_fill(~counted, 0).sum(1)


def _chosen(logits: Tensor, bases: Tensor) -> Tensor:
    """Log-probability (...) of a base (...) under logits (..., 4)."""
    return logits.gather(-1, bases[..., None])[..., 0] - logits.logsumexp(-1)
