"""How well predicted contacts agree with true ones: precision of the most probable pairs.

Pairs are told apart by how many residues `j - i` they are apart along the chain: short from 6 to
below 12, medium from 12 to below 24, long from 24 on, and all from 6 on (as CARP's authors and TAPE
count them). Of a protein of L residues, the L, L / 2 and L / 5 most probable pairs of a range are
looked at (rounded down, at least one), and the share of them that are contacts is the precision.

- A protein that has fewer valid pairs in a range is measured on those that it has. One that has
  none has no precision there (NaN), and is left out of the mean over proteins.
- A protein without any contact in a range has the precision 0 there, and counts.
- Among pairs of one probability that would fill the last places, each has the same chance: they
  count with their share of contacts. So no order of the pairs matters, and a predictor that says
  the same of all pairs gets the share of contacts among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

#: Separations of each range: from, and below (no limit: `None`).
RANGES: dict[str, tuple[int, int | None]] = {
    "short": (6, 12),
    "medium": (12, 24),
    "long": (24, None),
    "all": (6, None),
}
#: Length of the protein over the number of pairs, by the end of a measure's name.
CUTS: dict[str, int] = {"l": 1, "l2": 2, "l5": 5}
#: Every measure: `long_precision_l5` is that of the L / 5 most probable long-range pairs.
MEASURES = tuple(f"{reach}_precision_{cut}" for reach in RANGES for cut in CUTS)


def contact_precision(
    probabilities: Float[np.ndarray, "length length"],
    truth: Bool[np.ndarray, "length length"],
    valid: Bool[np.ndarray, " length"] | None = None,
) -> dict[str, float]:
    """Precision of the most probable pairs of one protein; the module says how it is counted.

    Args:
        probabilities: of contacts, or any score that is higher for more probable ones. Only the
            pairs (i, j) with i < j are looked at.
        truth: whether two residues are in contact.
        valid: of which residues something is known; all, if not given. Pairs of others do not
            count.

    Returns:
        Every one of `MEASURES`, NaN where there is no valid pair in the range.
    """
    length = len(truth)
    known = np.ones(length, bool) if valid is None else valid
    row, column = np.triu_indices(length, RANGES["all"][0])
    kept = known[row] & known[column]
    row, column = row[kept], column[kept]
    apart, values, hits = column - row, probabilities[row, column], truth[row, column]
    found = {}
    for reach, (least, behind) in RANGES.items():
        chosen = apart >= least
        if behind is not None:
            chosen &= apart < behind
        these, those = values[chosen], hits[chosen]
        for cut, share in CUTS.items():
            count = min(max(1, length // share), len(these))
            found[f"{reach}_precision_{cut}"] = _precision(these, those, count)
    return found


def _precision(values: NDArray, hits: NDArray[np.bool_], count: int) -> float:
    """Share of contacts among the `count` highest values, ties shared out."""
    if not count:
        return float("nan")
    last = np.partition(values, len(values) - count)[len(values) - count]
    above, tied = values > last, values == last
    places = count - int(above.sum())
    return float((hits[above].sum() + places * hits[tied].mean()) / count)


def mean_precision(proteins: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over proteins of every measure; of those that have it."""
    means = {}
    for name in MEASURES:
        values = np.array([found[name] for found in proteins])
        values = values[~np.isnan(values)]
        means[name] = float(values.mean()) if len(values) else float("nan")
    return means
