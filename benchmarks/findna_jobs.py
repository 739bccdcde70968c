"""Runs of the measurements of FinDNA: probes, fine-tuning and k-mers, several at the same time."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from findna_common import HELD_OUT, Files, labelled, letters

import helicon
from helicon.alphabet import DNA
from helicon.files import write_aside
from helicon.metrics.targets import find_target
from helicon.training.probe.result import ProbeResult
from helicon.training.yardsticks.kmers import measure_yardstick

#: Values by measure, one a seed.
Measured = dict[str, list[float]]
MEASURES = ("mcc", "accuracy")


class Job(Protocol):
    """Something that leaves a file, and is not done again where that is there."""

    @property
    def cost(self) -> float:
        """About how long it takes, in any unit: the longest begin first."""

    def run(self) -> None:
        """Do it."""


def execute(job: Job) -> None:
    """Do a job on one core, without its progress."""
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()):
        job.run()


def all_done(jobs: list[Any], cores: int) -> None:
    """Do jobs, several at the same time."""
    os.environ["OMP_NUM_THREADS"] = "1"
    ordered = sorted(jobs, key=lambda job: -job.cost)
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        for number, _ in enumerate(pool.imap_unordered(execute, ordered), 1):
            if number % 10 == 0 or number == len(ordered):
                print(f"{number} of {len(ordered)} done", flush=True)


@dataclass(frozen=True)
class Probed:
    """A linear probe of a frozen model on a set, with the rows that each seed holds out.

    Attributes:
        model: a run folder or a model folder.
        files: the set.
        seeds: that hold out rows.
        out: the folder to write.
        both: of a self-distilled run: measure teacher and student, each over all positions and over
            the blank tokens; else the model's own network over all positions.
    """

    model: Path
    files: Files
    seeds: range
    out: Path
    both: bool = False

    @property
    def cost(self) -> float:
        """See `Job`."""
        return letters(self.files) * (4 if self.both else 1)

    def run(self) -> None:
        """See `Job`."""
        helicon.probe(
            str(self.model),
            self.files.pool,
            test=self.files.test,
            out=self.out,
            networks="teacher,student" if self.both else None,
            pools="mean,cls" if self.both else "mean",
            seeds=len(self.seeds),
            seed=self.seeds[0],
            validation_fraction=HELD_OUT,
            accelerator="cpu",
            resume=True,
        )

    def measured(self, part: str = "test") -> dict[str, Measured]:
        """Measures of the rows of a part by network and pooling, `teacher, mean` for one."""
        return {
            f"{row.network}, {row.pool}": {
                name: [fit.scores[part][name] for fit in row.fits] for name in MEASURES
            }
            for row in ProbeResult.read(self.out).rows
        }

    @property
    def own(self) -> Measured:
        """Measures of the model's own network, over all positions: the teacher comes first."""
        return next(iter(self.measured().values()))


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuning run: `helicon finetune`, with the rows that its seed holds out."""

    model: Path
    files: Files
    seed: int
    lr: float
    steps: int
    batch: int
    scratch: bool
    out: Path

    @property
    def cost(self) -> float:
        """See `Job`."""
        return letters(self.files)

    def run(self) -> None:
        """See `Job`."""
        helicon.finetune(
            str(self.model),
            self.files.part("train", self.seed),
            out=self.out,
            valid=self.files.part("valid", self.seed),
            test=self.files.test,
            scratch=self.scratch,
            steps=self.steps,
            batch_size=self.batch,
            lr=self.lr,
            weight_decay=0.01,
            eval_every=max(1, self.steps // 4),
            patience=None,
            seed=self.seed,
            accelerator="cpu",
            resume=True,
        )

    def measured(self, part: str) -> Measured:
        """What it reached on `validation` or `test`."""
        found = json.loads((self.out / "results.json").read_text())[part]
        return {name: [found[name]] for name in MEASURES}


@dataclass(frozen=True)
class Counted:
    """The k-mer regression of fine-tuning's notes, on the test rows."""

    files: Files
    seeds: range
    out: Path

    @property
    def cost(self) -> float:
        """See `Job`."""
        return 0.0

    def run(self) -> None:
        """See `Job`."""
        if self.out.exists():
            return
        self.out.parent.mkdir(parents=True, exist_ok=True)
        test, found = labelled(self.files.test), []
        for seed in self.seeds:
            train = labelled(self.files.part("train", seed))
            target = find_target(train)
            labels = target.encode(train), target.encode(test)
            one = measure_yardstick(train, test, labels, DNA, classes=True)
            assert one is not None
            found.append(one.score)
        with write_aside(self.out) as path:
            path.write_text(json.dumps(found))

    def measured(self) -> Measured:
        """Its MCC."""
        return {"mcc": json.loads(self.out.read_text())}


def joined(found: Iterable[Measured]) -> Measured:
    """Measures of several runs, one after another."""
    together: Measured = {}
    for one in found:
        for name, values in one.items():
            together.setdefault(name, []).extend(values)
    return together
