"""Mean, spread and interval of a measure over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from helicon.metrics.measures import bootstrap_interval


@dataclass(frozen=True)
class Spread:
    """One measure over several seeds.

    Attributes:
        values: one value a seed; those that are not finite stay out of mean, spread and interval.
    """

    values: tuple[float, ...]

    @property
    def finite(self) -> tuple[float, ...]:
        """The values that are numbers."""
        return tuple(v for v in self.values if math.isfinite(v))

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN without a value."""
        return float(np.mean(self.finite)) if self.finite else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation with n - 1; NaN for fewer than two values."""
        return float(np.std(self.finite, ddof=1)) if len(self.finite) > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean; `None` for fewer than two values."""
        return bootstrap_interval(self.finite) if len(self.finite) > 1 else None

    def text(self, digits: int = 3) -> str:
        """`mean ± standard deviation`, or what of it exists; `–` without any value."""
        if not self.finite:
            return "NaN" if self.values else "–"
        if len(self.finite) == 1:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} ± {self.deviation:.{digits}f}"
