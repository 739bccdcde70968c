"""What came of fine-tuning, of one seed or of several."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from helicon.metrics.measured import Measures, goodness
from helicon.metrics.measures import Summary, summarise
from helicon.models.parts.heads import Problem

_PARTS = ("validation", "test")
#: What a person wants to see first, of any problem.
_SHOWN = ("mcc", "accuracy", "macro_f1", "mean_auroc", "mean_average_precision", "spearman")
_SHOWN_TOO = ("auroc", "pearson", "rmse", "r2")
#: ... and of contacts, where all would fill three lines.
_OF_CONTACTS = (
    "long_precision_l",
    "long_precision_l5",
    "medium_precision_l",
    "short_precision_l",
)


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a fine-tuning run, or of several seeds of it.

    Attributes:
        run: the run folder.
        model: folder of the adapted model.
        problem: `single_label`, `multi_label` or `regression`.
        names: of the classes, labels or numbers.
        monitor: the measure that chose the checkpoint.
        notes: what was found in the data and decided, a line each.
        scores: measures of the parts `validation` and, if there is one, `test`; of several seeds,
            those of the model that was kept.
        steps: optimiser steps done; 0 of a linear probe.
        best_step: the step whose weights were kept.
        seconds: time that it took, since this start.
        next_command: what to do with the run, behind `helicon`.
        runs: the runs of several seeds; empty of one run.
        spread: of several seeds, mean and spread of every measure, by part.
    """

    run: Path
    model: Path
    problem: Problem
    names: tuple[str, ...]
    monitor: str
    notes: tuple[str, ...]
    scores: dict[str, Measures]
    steps: int
    best_step: int
    seconds: float
    next_command: str = ""
    runs: tuple[FinetuneResult, ...] = ()
    spread: dict[str, dict[str, Summary]] = field(default_factory=dict)

    @classmethod
    def together(
        cls, runs: tuple[FinetuneResult, ...], run: Path, model: Path, seconds: float
    ) -> FinetuneResult:
        """Put several seeds together; the model is that of the best on validation data.

        Args:
            runs: of the seeds.
            run: folder that holds theirs.
            model: folder of the model that is kept.
            seconds: time that all took.
        """
        best = cls.best_of(runs)
        spread = {
            part: {
                measure: summarise([seed.scores[part].metrics[measure] for seed in runs])
                for measure in best.scores[part].metrics
            }
            for part in best.scores
        }
        return replace(best, run=run, model=model, seconds=seconds, runs=runs, spread=spread)

    @staticmethod
    def best_of(runs: tuple[FinetuneResult, ...]) -> FinetuneResult:
        """The run that is best on validation data."""
        return max(runs, key=lambda run: goodness(run.chosen_by, run.monitor))

    @property
    def chosen_by(self) -> float:
        """The value on validation data of the measure that chooses."""
        return self.scores["validation"].metrics[self.monitor]

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        lines = [f"{part:<11}" + self._measures(part) for part in self.scores]
        if self.runs:
            lines.append(f"{len(self.runs)} seeds: mean ± standard deviation [95 % interval]")
        return "\n".join([*lines, f"model: {self.model}"])

    def _measures(self, part: str) -> str:
        found = self.scores[part].metrics
        names = [name for name in (*_SHOWN, *_SHOWN_TOO, *_OF_CONTACTS) if name in found]
        if not self.runs:
            return "  ".join(f"{name} {found[name]:.4f}" for name in names)
        values = ((name, self.spread[part][name]) for name in names)
        return "  ".join(
            f"{n} {v.mean:.4f} ± {v.sd:.4f} [{v.low:.4f}, {v.high:.4f}]" for n, v in values
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of several seeds the measures are means over them."""
        found: dict[str, Any] = {
            "run": str(self.run),
            "model": str(self.model),
            "problem": self.problem,
            "names": list(self.names),
            "monitor": self.monitor,
            "notes": list(self.notes),
            "steps": self.steps,
            "best_step": self.best_step,
            "seconds": self.seconds,
            "next_command": self.next_command,
        }
        if not self.runs:
            return found | {part: scores.as_dict() for part, scores in self.scores.items()}
        found["runs"] = [str(run.run) for run in self.runs]
        found["spread"] = [
            {"part": part, "measure": measure, **asdict(value)}
            for part, measures in self.spread.items()
            for measure, value in measures.items()
        ]
        means = {
            part: {measure: value.mean for measure, value in measures.items()}
            for part, measures in self.spread.items()
        }
        return found | means

    @classmethod
    def read(cls, run: Path) -> FinetuneResult:
        """Read the results of a finished run, wherever its folder has moved."""
        values = json.loads((run / "results.json").read_text(encoding="utf-8"))
        if "runs" in values:
            seeds = tuple(cls.read(run / Path(seed).name) for seed in values["runs"])
            return cls.together(seeds, run, run / "model", values["seconds"])
        return cls(
            run=run,
            model=run / "model",
            problem=values["problem"],
            names=tuple(values["names"]),
            monitor=values["monitor"],
            notes=tuple(values["notes"]),
            scores={part: Measures.of(values[part]) for part in _PARTS if part in values},
            steps=values["steps"],
            best_step=values["best_step"],
            seconds=values["seconds"],
            next_command=values.get("next_command", ""),
        )
