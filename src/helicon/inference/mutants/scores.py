"""What a protein language model says of substitutions: log-probabilities, and what follows.

- `masked-marginal`: the position is hidden in the wild type; log p(new) - log p(old) there.
- `wild-type-marginal`: the same without hiding anything, from one pass.
- `pseudo-perplexity`: every position of the mutant is hidden in turn; the log-probabilities of its
  own residues, less the same of the wild type.
- `pseudo-likelihood`: the same without hiding anything, from one pass a mutant.

The first two and their names are those of Meier et al., "Language models enable zero-shot
prediction of the effects of mutations on protein function", 2021; several substitutions add up. The
last is ProteinGym's baseline of that name. Probabilities are among all letters of the alphabet, as
CARP's authors and ProteinGym have it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import Ids
from helicon.data.genome.genome import gather_windows
from helicon.data.genome.intervals import Intervals
from helicon.forward.memory import letters_at_once
from helicon.forward.network import Network
from helicon.forward.substitutions import Differences
from helicon.forward.tiles import Sequences, Tiling, over_tiles
from helicon.metrics.measures import spearman

Strategy = Literal[
    "masked-marginal", "wild-type-marginal", "pseudo-perplexity", "pseudo-likelihood"
]
Protocol = Literal["sum", "proteingym"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
#: Former names of strategies.
FORMER: dict[str, Strategy] = {
    "masked-marginals": "masked-marginal",
    "wild-type-marginals": "wild-type-marginal",
}
#: Strategies that look at single positions of the wild type.
MARGINALS: tuple[Strategy, ...] = ("masked-marginal", "wild-type-marginal")

Whole = NDArray[np.int64]


def masked_log_p(network: Network, ids: Ids, positions: Whole) -> NDArray[np.float32]:
    """Log-probabilities (n, V) of all letters at hidden positions (n,) of one sequence (L,).

    Each position is hidden alone.
    """
    differences = Differences(network)
    hidden = torch.full((len(positions),), network.alphabet.mask_id)
    found = differences.of(
        differences.reference(ids), torch.from_numpy(positions), hidden, "substituted"
    )
    return np.concatenate([network.outputs(each.features[:, 0]).cpu().numpy() for _, each in found])


def open_log_p(
    network: Network, proteins: Sequences, protein: int, positions: Whole
) -> NDArray[np.float32]:
    """The same (n, V), at positions (n,), ascending, of a sequence of which nothing is hidden."""
    first, last = int(positions[0]), int(positions[-1]) + 1
    stretch = Intervals.of((), np.array([protein]), np.array([first]), np.array([last]))

    def work(ids: Ids, mask: NDArray[np.bool_] | None) -> Tensor:
        return network.outputs(network.features(ids, mask), mask)

    tiling = _tiling(network, int(proteins.lengths[protein]))
    pieces = [piece.values.cpu().numpy() for piece in over_tiles(proteins, stretch, tiling, work)]
    return np.concatenate(pieces)[positions - first]


def masked_likelihood(network: Network, rows: Ids, counted: Whole) -> NDArray[np.float64]:
    """Sums (B,) of the log-probabilities of rows' (B, L) own letters, each hidden in turn.

    Args:
        network: a language model.
        rows: token ids.
        counted: positions (n,) that are hidden and counted.
    """
    place = np.arange(len(counted))
    each = [masked_log_p(network, row, counted)[place, row[counted]] for row in rows]
    return np.array(each).sum(axis=1, dtype=np.float64)


def open_likelihood(network: Network, rows: Ids, counted: Whole) -> NDArray[np.float64]:
    """The same from one pass a row, of which nothing is hidden."""
    batch, length = rows.shape
    every = Intervals.of((), np.arange(batch), np.zeros(batch, int), np.full(batch, length))

    def work(ids: Ids, mask: NDArray[np.bool_] | None) -> Tensor:
        log_p = network.outputs(network.features(ids, mask), mask)
        own = network.tokens(ids).clamp(max=log_p.shape[-1] - 1)
        return log_p.gather(-1, own[..., None])

    weight = np.zeros(length)
    weight[counted] = 1
    total = np.zeros(batch)
    for piece in over_tiles(_Rows(rows), every, _tiling(network, length), work):
        values = piece.values[:, 0].cpu().double().numpy()
        total[piece.row] += values @ weight[piece.start : piece.start + len(values)]
    return total


def _tiling(network: Network, length: int) -> Tiling:
    """Tiles of sequences of one length; one, where a window holds all of it."""
    found = Tiling.of(network, length)
    if length > found.width and network.halo is not None:
        return found
    return replace(found, size=length, batch=max(1, letters_at_once(network) // length))


@dataclass(frozen=True)
class _Rows:
    """Sequences of one length in memory, (B, L), as `Sequences`."""

    ids: Ids

    @property
    def lengths(self) -> Whole:
        """See `Sequences`."""
        return np.full(len(self.ids), self.ids.shape[1])

    def windows(
        self,
        chroms: Whole,
        starts: Whole,
        length: int,
        /,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> Ids:
        """See `Sequences`; proteins have no other strand."""
        at = chroms * self.ids.shape[1]
        return gather_windows(self.ids.ravel(), at, self.lengths[chroms], starts, length, 0)


# ---------------------------------------------------------------- against measurements


@dataclass(frozen=True)
class RankCorrelation:
    """How well scores rank what was measured.

    Attributes:
        protein: name of the wild type.
        rows: rows with a measurement.
        spearman: rank correlation.
        low: lower end of its 95 % bootstrap interval over rows.
        high: upper end.
    """

    protein: str
    rows: int
    spearman: float
    low: float
    high: float


def rank_correlation(
    protein: str, measured: NDArray[np.float64], scores: NDArray[np.float64]
) -> RankCorrelation:
    """Compare scores with measurements, both (n,); NaN where something was not measured."""
    known = ~np.isnan(measured)
    measured, scores = measured[known], scores[known]
    low, high = spearman_interval(measured, scores)
    return RankCorrelation(protein, len(measured), spearman(measured, scores), low, high)


def spearman_interval(
    truth: NDArray[np.floating],
    predicted: NDArray[np.floating],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a rank correlation, over rows, the same for the same seed.

    Args:
        truth: (n,).
        predicted: (n,).
        level: probability that the interval is meant to cover.
        seed: of the draws of n rows with replacement: 1,000, fewer for more than 50,000 rows.

    Returns:
        Lower and upper end; both NaN for fewer than three rows.
    """
    n = len(truth)
    if n < 3:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    groups = [np.unique(values, return_inverse=True)[1] for values in (truth, predicted)]
    found = []
    for _ in range(min(1000, max(200, 50_000_000 // n))):
        drawn = np.bincount(rng.integers(0, n, n), minlength=n)
        found.append(_weighted(drawn, *(_ranks(group, drawn) for group in groups)))
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ranks(group: Whole, times: Whole) -> NDArray[np.float64]:
    """Ranks of rows that occur so many times; `group` (n,) orders them, equal where they tie."""
    size = np.bincount(group, times)
    return (np.cumsum(size) - (size - 1) / 2)[group]


def _weighted(times: Whole, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Correlation of ranks of rows that occur so many times; NaN where all are equal."""
    x, y = x - times @ x / times.sum(), y - times @ y / times.sum()
    spread = math.sqrt((times @ x**2) * (times @ y**2))
    return float((times * x) @ y / spread) if spread else math.nan
