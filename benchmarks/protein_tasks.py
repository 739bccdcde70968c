"""Protein tasks with labels: a pretrained CARP beside what it must beat, on real data.

    HELICON_DATA=FOLDER python benchmarks/protein_tasks.py MODEL [--seeds 5] [--work DIR] [--jobs 2]

MODEL is a run of `helicon pretrain`. For each task the arms are

- `pretrained`: all weights of MODEL are fine-tuned with a new head;
- `random`: the same network from random weights;
- `cnn`: `protein-cnn`, a small convolutional network trained from random weights;
- `ridge`: a one-hot ridge regression, or for residues one over the 15 letters around; it has no
  random part.

Steps, batches, schedule, data and splits are the same for all networks. The learning rate of each
network is the better of `RATES` on validation data, with seed 0, on one task of each family. Test
rows are looked at once a run, by the checkpoint that was best on validation rows.

Runs are kept in the work folder: a stopped command goes on where it was, and `--report` writes the
table of what is there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import polars as pl
import torch
from common import conditions, said, table, write

from helicon.alphabet import PROTEIN
from helicon.data.catalogue.catalogue import find
from helicon.data.tables.residue_labels import ResidueTable
from helicon.metrics.measures import confusion_matrix, mcc, summarise
from helicon.models.hub import untrained
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.finetune.finetune import finetune
from helicon.training.kinds.residues import Residues
from helicon.training.run.options import Asked

ARMS = ("pretrained", "random", "cnn")
RATES = (5e-4, 2e-3)
SEED = 0
#: Residues of a GB1 sequence that belong to the domain; behind them all variants are alike.
_DOMAIN = 56
#: Letters on either side of a residue that the linear yardstick sees.
_REACH = 7
#: Rows of the GFP set that are measured on, for validation and test.
GFP_ROWS = {"v": 1_000, "e": 4_000}
_GFP = "avgfp/avgfp.tsv.gz"
_SS = "flip/secondary_structure_splits.zip"
_BIND = "flip/bind_splits.zip"


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: how the table calls it.
        measure: what is reported.
        family: tasks that share their learning rates, by the first of them.
        batch: sequences in a step.
        files: makes the arguments of `finetune` that name the data, in a folder.
    """

    name: str
    measure: str
    family: str
    batch: int
    files: Callable[[Path], dict[str, Any]]


def gb1(split: str) -> Callable[[Path], dict[str, Any]]:
    """A FLIP split of GB1, without the linker that all variants share."""

    def files(work: Path) -> dict[str, Any]:
        path = work / f"gb1-{split}.csv"
        if not path.exists():
            with ZipFile(find("flip/gb1_splits.zip")) as archive:
                frame = pl.read_csv(archive.read(f"splits/{split}.csv"))
            tails = frame["sequence"].str.slice(_DOMAIN)
            assert tails.n_unique() == 1, "the linker varies"
            frame.with_columns(pl.col("sequence").str.slice(0, _DOMAIN)).write_csv(path)
        return {"data": path, "target": "target"}

    return files


def avgfp(work: Path) -> dict[str, Any]:
    """Brightness of GFP variants: TAPE's test rows have four mutations or more.

    Of the others a fifth, drawn with a fixed seed, is for validation. To bound the time, `GFP_ROWS`
    of the validation and of the test rows, drawn with the same seed, stand for all of them.
    """
    path = work / "avgfp.csv"
    if not path.exists():
        wild = "".join(find("avgfp/wt.fasta").read_text().splitlines()[1:]).strip().rstrip("*")
        frame = pl.read_csv(
            find(_GFP), separator="\t", columns=["variant", "num_mutations", "score"]
        )
        rng = np.random.default_rng(SEED)
        few = (frame["num_mutations"] <= 3).to_numpy()
        part = np.where(few, np.where(rng.random(len(frame)) < 0.2, "v", "t"), "e")
        for name, most in GFP_ROWS.items():
            rows = rng.permutation(np.flatnonzero(part == name))
            part[rows[most:]] = "x"
        frame, part = frame.filter(part != "x"), part[part != "x"]
        pl.DataFrame(
            {
                "sequence": [mutated(wild, v) for v in frame["variant"]],
                "score": frame["score"],
                "set": np.where(part == "e", "test", "train"),
                "validation": np.where(part == "v", "True", ""),
            }
        ).write_csv(path)
    return {"data": path, "target": "score"}


def mutated(wild: str, variant: str) -> str:
    """A wild type with mutations such as `A108D,N144D`, positions from zero."""
    letters = list(wild)
    for one in variant.split(","):
        old, at, new = one[0], int(one[1:-1]), one[-1]
        assert letters[at] == old, f"{variant}: {wild[at]} at {at}"
        letters[at] = new
    return "".join(letters).rstrip("*")


def secondary_structure(work: Path) -> dict[str, Any]:
    """Three states a residue; unresolved residues do not count."""
    archive = f"{find(_SS)}/splits"
    return {
        "data": f"{archive}/sequences.fasta",
        "labels": f"{archive}/sampled.fasta",
        "mask": f"{archive}/mask.fasta",
    }


def binding(work: Path) -> dict[str, Any]:
    """Residues that bind a metal, a nucleic acid or a small molecule, the publication's split.

    They are rare: without weights every network answers "none" everywhere.
    """
    archive = f"{find(_BIND)}/splits"
    return {
        "data": f"{archive}/sequences.fasta",
        "labels": f"{archive}/from_publication.fasta",
        "class_weights": "sqrt",
    }


_GB1 = ("three_vs_rest", "one_vs_rest", "two_vs_rest", "low_vs_high", "sampled")
TASKS = (
    *(Task(f"GB1 {s}", "spearman", "gb1", 32, gb1(s)) for s in _GB1),
    Task("secondary structure", "accuracy", "residues", 16, secondary_structure),
    Task("binding residues", "mcc", "residues", 16, binding),
    Task("avGFP", "spearman", "gb1", 16, avgfp),
)


@dataclass(frozen=True)
class Run:
    """One run of one arm on one task."""

    task: str
    arm: str
    seed: int
    rate: float
    steps: int
    model: str
    work: Path

    @property
    def out(self) -> Path:
        """Its folder."""
        where = f"{self.arm}-{self.rate:g}-{self.steps}"
        return self.work / "runs" / self.task.replace(" ", "-") / where / f"seed-{self.seed}"

    def results(self) -> dict[str, Any]:
        """What it measured."""
        return json.loads((self.out / "results.json").read_text())


def execute(run: Run) -> None:
    """Do a run that is not done."""
    if (run.out / "results.json").exists():
        return
    torch.set_num_threads(1)
    task = next(t for t in TASKS if t.name == run.task)
    finetune(
        "protein-cnn" if run.arm == "cnn" else run.model,
        **task.files(run.work),
        out=run.out,
        scratch=run.arm == "random",
        steps=run.steps,
        batch_size=task.batch,
        lr=run.rate,
        weight_decay=0.01,
        patience=None,
        seed=run.seed,
        resume=True,
    )
    print(run.task, run.arm, f"seed {run.seed}, rate {run.rate:g}: done", flush=True)


def all_at_once(runs: list[Run], jobs: int) -> None:
    """Do runs, several at the same time."""
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for _ in pool.imap_unordered(execute, runs):
            pass


def tuning(model: str, work: Path, steps: int) -> list[Run]:
    """Runs that choose the learning rates: each network on the first task of each family."""
    firsts = {task.family: task.name for task in reversed(TASKS)}
    return [
        Run(name, arm, SEED, rate, steps, model, work)
        for name in firsts.values()
        for arm in ARMS
        for rate in RATES
    ]


def chosen(runs: list[Run]) -> dict[tuple[str, str], float]:
    """The learning rate of each family and arm, by validation."""
    families = {task.name: task.family for task in TASKS}
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for run in runs:
        results = run.results()
        value = results["validation"][results["monitor"]]
        key = families[run.task], run.arm
        best[key] = max(best.get(key, (-np.inf, 0.0)), (value, run.rate))
    return {key: rate for key, (_, rate) in best.items()}


# ---------------------------------------------------------------- the linear yardstick of residues


def residue_ridge(task: Task, work: Path) -> float:
    """Test measure of a ridge classifier over one-hot letters, seven to either side.

    The penalty, and how much rare classes count, are chosen on validation rows.
    """
    files = {name: v for name, v in task.files(work).items() if name != "class_weights"}
    kind = Residues(Path(files.pop("data")), **{name: Path(v) for name, v in files.items()})
    data = kind.read(untrained("carp-600k"), Adapt(), Fit(), Asked({}, frozenset()))
    assert data.test is not None
    names = "".join(data.target.names)
    size = (2 * _REACH + 1) * PROTEIN.size + 1
    grams = np.zeros((len(names), size, size), dtype=np.float64)
    sums = np.zeros((len(names), size))
    counts = np.zeros(len(names))
    for ones, classes in windows(data.train, names):
        for one in np.unique(classes):
            chosen_rows = ones[classes == one]
            grams[one] += chosen_rows.T @ chosen_rows
            sums[one] += chosen_rows.sum(axis=0)
            counts[one] += len(chosen_rows)
    best: tuple[float, Any] = (-np.inf, None)
    for power in (0.0, 0.5, 1.0):
        rare = (counts.sum() / np.maximum(counts, 1)) ** power
        gram, moments = np.tensordot(rare, grams, 1), (rare[:, None] * sums).T
        for alpha in (1e1, 1e3, 1e5):
            weights = np.linalg.solve(gram + alpha * np.eye(size), moments)
            found = measured(data.valid, names, weights, task.measure)
            best = max(best, (found, weights), key=lambda pair: pair[0])
    return measured(data.test, names, best[1], task.measure)


def windows(table: ResidueTable, names: str) -> Iterator[tuple[Any, Any]]:
    """One-hot rows of the 15 letters around each residue that counts, and its class."""
    reach, size = _REACH, PROTEIN.size
    classes = table.classes(names)
    offsets = table.sequences.offsets
    for row in range(len(table)):
        ids = np.pad(table.sequences.sequence(row), reach, constant_values=PROTEIN.pad_id)
        around = np.lib.stride_tricks.sliding_window_view(ids, 2 * reach + 1)
        known = classes[offsets[row] : offsets[row + 1]]
        around, known = around[known >= 0], known[known >= 0]
        ones = np.zeros((len(around), around.shape[1], size), dtype=np.float32)
        np.put_along_axis(ones, around[..., None].astype(np.int64), 1.0, axis=2)
        constant = np.ones((len(around), 1), dtype=np.float32)
        yield np.concatenate([ones.reshape(len(around), -1), constant], axis=1), known


def measured(table: ResidueTable, names: str, weights: Any, measure: str) -> float:
    """Accuracy or MCC of linear scores over all residues of a table."""
    counts = sum(
        confusion_matrix(classes, (ones @ weights).argmax(axis=1), len(names))
        for ones, classes in windows(table, names)
    )
    return mcc(counts) if measure == "mcc" else float(np.trace(counts) / counts.sum())


# ---------------------------------------------------------------- the table


def collected(runs: list[Run], task: Task, work: Path) -> dict[str, Any]:
    """Test measures of a task, by arm and seed."""
    found: dict[str, Any] = {"measure": task.measure, "arms": {}}
    for arm in ARMS:
        done = [r for r in runs if r.task == task.name and r.arm == arm]
        done = [run for run in done if (run.out / "results.json").exists()]
        values = {run.seed: run.results()["test"][task.measure] for run in done}
        rate = done[0].rate if done else None
        found["arms"][arm] = {"rate": rate, "seeds": values}
        if done:
            results = done[0].results()
            found["data"] = results["provenance"]["data"]
            if (ridge := results.get("one_hot_baseline")) is not None:
                found["ridge"] = ridge["test"][task.measure]
    if task.family == "residues":
        found["ridge"] = residue_ridge(task, work)
    return found


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = ["# Protein tasks with labels\n", said(result["conditions"])]
    rows = []
    for name, found in result["tasks"].items():
        row = [name, found["measure"]]
        for arm in ARMS:
            values = list(found["arms"][arm]["seeds"].values())
            spread = summarise(values) if values else None
            row.append(
                f"{spread.mean:.3f} ({spread.low:.3f} to {spread.high:.3f}, n = {spread.n})"
                if spread and spread.n > 1
                else "-"
            )
        rows.append([*row, f"{found['ridge']:.3f}" if "ridge" in found else "-"])
    lines.append(table(["", "test", *ARMS, "ridge"], rows))
    pretrained = result["model"]
    lines.append(
        f"Mean over seeds with the 95 % bootstrap interval of the mean. {result['steps']} steps "
        "each; learning rates "
        + ", ".join(f"{key} {rate:g}" for key, rate in result["rates"].items())
        + " (the better of two on validation data). The pretrained network: "
        f"{pretrained['parameters']:,} values, {pretrained['letters']:,} residues seen, test "
        f"perplexity {pretrained['perplexity']:.2f}.\n"
    )
    return "\n".join(lines)


def about(model: Path) -> dict[str, Any]:
    """What the pretrained network is."""
    results = json.loads((model / "results.json").read_text())
    return {
        "parameters": results["parameters"],
        "letters": results["residues"],
        "perplexity": results["test"]["perplexity"],
        "recipe": (model / "recipe.toml").read_text(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="run folder of a pretrained CARP")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time, a thread each")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "protein-tasks"))
    parser.add_argument("--task", action="append", help="only these")
    parser.add_argument("--report", action="store_true", help="train nothing, write the table")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    given.work.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in TASKS if given.task is None or task.name in given.task]
    for task in tasks:
        task.files(given.work)
    trials = tuning(str(given.model), given.work, given.steps)
    if not given.report:
        all_at_once(trials, given.jobs)
    rates = chosen(trials)
    runs = [
        Run(
            task.name,
            arm,
            SEED + seed,
            rates[task.family, arm],
            given.steps,
            str(given.model),
            given.work,
        )
        for task in tasks
        for seed in range(given.seeds)
        for arm in ARMS
    ]
    if not given.report:
        all_at_once(runs, given.jobs)
    result = {
        "conditions": conditions(SEED, torch.device("cpu")),
        "model": about(given.model),
        "steps": given.steps,
        "rates": {f"{family}/{arm}": rate for (family, arm), rate in rates.items()},
        "tasks": {task.name: collected(runs, task, given.work) for task in tasks},
    }
    write("protein-tasks", result, report(result))


if __name__ == "__main__":
    main()
