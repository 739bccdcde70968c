"""What came of probing: every pooling of every network, over seeds or over rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helicon.metrics.measured import Outputs, measures_of
from helicon.metrics.measures import Summary, summarise
from helicon.metrics.targets import Target
from helicon.models.parts.heads import Pooling, Problem

#: What a summary shows of each problem, besides the measure that chooses.
_SECOND: dict[Problem, str] = {
    "single_label": "accuracy",
    "multi_label": "mean_average_precision",
    "regression": "pearson",
}
#: Draws of rows for an interval.
RESAMPLES = 1000
UNTRAINED = "untrained"

Interval = tuple[float, float]


def rows_intervals(target: Target, truth: NDArray, outputs: Outputs) -> dict[str, Interval]:
    """95 % percentile bootstrap intervals of every measure, over rows drawn with replacement.

    Args:
        target: what is predicted.
        truth: as from `Target.encode`.
        outputs: in the unit of the data, (n, K).

    Returns:
        Lower and upper end by measure, those of single classes left out; the same every time.
    """
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        for name, value in measures_of(target, truth[rows], outputs[rows]).main.items():
            found.setdefault(name, []).append(value)
    return {name: _quantiles(values) for name, values in found.items()}


def _quantiles(values: Sequence[float]) -> Interval:
    """A measure that a draw does not have (the AUROC of one class) stays out."""
    finite = np.array(values)[np.isfinite(values)]
    if not len(finite):
        return math.nan, math.nan
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Fit:
    """One regression.

    Attributes:
        seed: of what varies.
        strength: inverse of the penalty that validation data chose.
        scores: measures by part, `validation` and perhaps `test`.
    """

    seed: int
    strength: float
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Compared:
    """A pooling of a network: one row of the comparison.

    Attributes:
        network: `pretrained`, `teacher`, `student` or `untrained`.
        pool: the pooling.
        varies: what the seeds vary; empty where they vary nothing, and one fit was made.
        fits: one a seed.
        intervals: of a single fit, 95 % intervals by part and measure, over rows of the part whose
            measures are the result.
    """

    network: str
    pool: Pooling
    varies: tuple[str, ...]
    fits: tuple[Fit, ...]
    intervals: dict[str, dict[str, Interval]]

    def summary(self, part: str, measure: str) -> Summary:
        """Mean, spread and interval of a measure."""
        values = [fit.scores[part][measure] for fit in self.fits]
        if len(values) > 1:
            return summarise(values)
        low, high = self.intervals.get(part, {}).get(measure, (math.nan, math.nan))
        return Summary(values[0], math.nan, low, high, 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network,
            "pool": self.pool,
            "varies": list(self.varies),
            "interval_over": "seeds" if len(self.fits) > 1 else "rows",
            "fits": [asdict(fit) for fit in self.fits],
            **{
                part: {measure: asdict(self.summary(part, measure)) for measure in measures}
                for part, measures in self.fits[0].scores.items()
            },
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Compared:
        """From what `as_dict` gave, read back from a JSON file, in which NaN is null."""
        fits = tuple(_fit(fit) for fit in values["fits"])
        intervals: dict[str, dict[str, Interval]] = {}
        if values["interval_over"] == "rows":
            intervals = {
                part: {m: (_number(s["low"]), _number(s["high"])) for m, s in values[part].items()}
                for part in fits[0].scores
            }
        return cls(values["network"], values["pool"], tuple(values["varies"]), fits, intervals)


def _fit(values: Mapping[str, Any]) -> Fit:
    scores = {
        part: {name: _number(value) for name, value in measures.items()}
        for part, measures in values["scores"].items()
    }
    return Fit(values["seed"], values["strength"], scores)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True)
class ProbeResult:
    """What came of `helicon probe`.

    Attributes:
        run: the folder.
        model: what was probed, as it was asked for.
        problem: `single_label`, `multi_label` or `regression`.
        names: of the classes, labels or numbers.
        monitor: the measure on validation data that chose the penalties.
        examples: rows of each part that is measured, by part.
        notes: what was found in the data and decided, a line each.
        rows: what was compared.
        seconds: time that it took.
    """

    run: Path
    model: str
    problem: Problem
    names: tuple[str, ...]
    monitor: str
    examples: dict[str, int]
    notes: tuple[str, ...]
    rows: tuple[Compared, ...]
    seconds: float

    @property
    def part(self) -> str:
        """The part whose measures are the result: `test` where there is one."""
        return list(self.examples)[-1]

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that a summary shows."""
        return tuple(dict.fromkeys([self.monitor, _SECOND[self.problem]]))

    def gain(self, row: Compared) -> float | None:
        """By how much a row is above the same pooling of the network untrained."""
        for other in self.rows:
            if (other.network, other.pool) == (UNTRAINED, row.pool) and other is not row:
                mean = row.summary(self.part, self.monitor).mean
                return mean - other.summary(self.part, self.monitor).mean
        return None

    @property
    def summary(self) -> str:
        """A table for a person."""
        known = f"{self.part}: {self.examples[self.part]:,} rows"
        gains = [self.gain(row) for row in self.rows]
        some = any(gain is not None for gain in gains)
        table = [["network", "pool", *self.measures, *(["over untrained"] * some)]]
        for row, gain in zip(self.rows, gains, strict=True):
            cells = [_written(row.summary(self.part, name)) for name in self.measures]
            more = ["" if gain is None else f"{gain:+.4f}"] if some else []
            table.append([row.network, row.pool, *cells, *more])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        return "\n".join([known, *lines, *self._explained(), f"results: {self.run}"])

    def _explained(self) -> list[str]:
        """What the numbers are."""
        several = [row for row in self.rows if len(row.fits) > 1]
        lines = []
        if several:
            n = len(several[0].fits)
            lines.append(f"{n} seeds: mean ± standard deviation [95 % interval of the mean]")
        if len(several) < len(self.rows):
            lines.append(f"one fit: value [95 % bootstrap interval over {self.part} rows]")
        if self.part == "validation":
            lines.append("the penalties were chosen on these rows: give a test file to measure")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": str(self.run),
            "model": self.model,
            "problem": self.problem,
            "names": list(self.names),
            "monitor": self.monitor,
            "examples": self.examples,
            "notes": list(self.notes),
            "rows": [{**row.as_dict(), "over_untrained": self.gain(row)} for row in self.rows],
            "seconds": self.seconds,
        }

    @classmethod
    def read(cls, run: Path) -> ProbeResult:
        """Read the results of a finished probe, wherever its folder has moved."""
        values = json.loads((run / "results.json").read_text(encoding="utf-8"))
        return cls(
            run=run,
            model=values["model"],
            problem=values["problem"],
            names=tuple(values["names"]),
            monitor=values["monitor"],
            examples=values["examples"],
            notes=tuple(values["notes"]),
            rows=tuple(Compared.of(row) for row in values["rows"]),
            seconds=values["seconds"],
        )


def _written(value: Summary) -> str:
    spread = f" ± {value.sd:.4f}" if value.n > 1 else ""
    return f"{value.mean:.4f}{spread} [{value.low:.4f}, {value.high:.4f}]"
