"""What came of pretraining, as a value, as lines for a person and as `results.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helicon.data.catalogue.catalogue import DATASETS, find
from helicon.data.catalogue.example import example_genome
from helicon.training.yardsticks.markov import MarkovScore


@dataclass(frozen=True)
class Proteins:
    """What the proteins of a run were.

    Attributes:
        sequences: in each part.
        clusters: in each part; no cluster is in two.
        clusters_by: where the clusters come from.
        batches: in an epoch.
        real_fraction: share of the positions of training batches that hold residues, not padding.
    """

    sequences: dict[str, int]
    clusters: dict[str, int]
    clusters_by: str
    batches: int
    real_fraction: float


@dataclass(frozen=True)
class Student:
    """The student of a self-distilled model.

    Attributes:
        model: its model folder.
        test: what it reaches on the test part, as `PretrainResult.test`.
    """

    model: Path
    test: dict[str, float]


@dataclass(frozen=True)
class PretrainResult:
    """What came of pretraining.

    Attributes:
        run: the run folder.
        model: the model folder; with self-distillation it is the teacher's.
        steps: optimiser steps done.
        best_step: the step whose weights were kept: the best on the validation part.
        validation: loss (nats a letter), accuracy and perplexity on hidden letters; empty without
            a validation part.
        test: the same on the test part, looked at once; empty without a test part.
        baselines: Markov models fitted on the training part, scored on the test part (the
            validation part without one): on the same windows or sequences as the model.
        parameters: trained values of the model.
        receptive_field: positions that an output depends on; `None` for the whole sequence.
        unit: what the letters are, `bases` or `residues`.
        letters: letters that the model was trained on, repeats counted. The file of results calls
            them, and `letters_per_second`, by their unit.
        split: letters in each part of the data.
        proteins: what the proteins were; `None` for a genome.
        student: of self-distillation; else `None`.
        seconds: time in training, over all starts of the run.
        letters_per_second: `letters` over `seconds`, validation and checkpoints included.
        waited_seconds: of `seconds`, time in which training waited for data.
        precision: `float32` or `bfloat16`, as used.
        provenance: seed, hashes of the data, commit, versions, machine, time, memory.
    """

    run: Path
    model: Path
    steps: int
    best_step: int
    validation: dict[str, float]
    test: dict[str, float]
    baselines: list[MarkovScore]
    parameters: int
    receptive_field: int | None
    unit: str
    letters: int
    split: dict[str, int]
    proteins: Proteins | None
    student: Student | None
    seconds: float
    letters_per_second: float
    waited_seconds: float
    precision: str
    provenance: dict[str, Any]

    @property
    def summary(self) -> str:
        """A few lines for a person: the model's numbers above those of the Markov models."""
        rows = [(part, getattr(self, part)) for part in ("validation", "test")]
        lines = [
            f"{part:<17} accuracy {score['accuracy']:.4f}  perplexity {score['perplexity']:.4f}"
            for part, score in rows
            if score
        ]
        lines += [
            f"Markov, order {b.order:<3} accuracy {b.accuracy:.4f}  perplexity {b.perplexity:.4f}"
            for b in (self.baselines[0], self.baselines[-1])
        ]
        if self.proteins is not None:
            lines.append(
                f"{sum(self.proteins.sequences.values()):,} sequences in "
                f"{sum(self.proteins.clusters.values()):,} clusters ({self.proteins.clusters_by}); "
                f"{self.proteins.real_fraction:.1%} of the positions of a batch are residues"
            )
        lines.append(
            f"{self.steps:,} steps in {self.seconds:,.0f} s ({self.letters_per_second:,.0f} "
            f"{self.unit} a second, {self.precision}); the best was step {self.best_step:,}"
        )
        if self.student is not None:
            if score := self.student.test:
                lines.append(
                    f"the model is the teacher; student: test accuracy {score['accuracy']:.4f}  "
                    f"perplexity {score['perplexity']:.4f}"
                )
            lines.append(f"student: {self.student.model}")
        return "\n".join([*lines, f"model: {self.model}"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self) | {"run": str(self.run), "model": str(self.model)}
        values[self.unit] = values.pop("letters")
        values[f"{self.unit}_per_second"] = values.pop("letters_per_second")
        if self.student is not None:
            values["student"]["model"] = str(self.student.model)
        absent = [name for name in ("proteins", "student") if values[name] is None]
        return {name: value for name, value in values.items() if name not in absent}

    @classmethod
    def read(cls, run: Path) -> PretrainResult:
        """Read the results of a finished run."""
        values = json.loads((run / "results.json").read_text(encoding="utf-8"))
        del values["verb"]
        unit, proteins = values["unit"], values.get("proteins")
        student = values.get("student")
        values |= {
            "letters": values.pop(unit),
            "letters_per_second": values.pop(f"{unit}_per_second"),
            "baselines": [MarkovScore(**score) for score in values["baselines"]],
            "proteins": proteins and Proteins(**proteins),
            "student": student and Student(run / "student", student["test"]),
            "run": run,
            "model": run / "model",
        }
        return cls(**values)


def located(path: Path) -> Path:
    """The file that an option means: a path, the embedded example, or a catalogued file."""
    if path.exists():
        return path
    if str(path) == "example":
        return example_genome()
    return find(str(path)) if path.parts[:1] and path.parts[0] in DATASETS else path
