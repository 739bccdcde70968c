"""The main job: pretrain on a genome, adapt with few labels, compare with no pretraining, report.

Every step is a public verb called as a user would call it, and its command is shown in the report.
The two arms of the comparison differ in one thing, the weights they start from: labels, steps,
batches, learning rate and seeds are the same. Linear probes of the pretrained and of an untrained
network stand beside them where the system has them; they are fitted to the same labels.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helicon.data.annotation.annotation import read_annotation
from helicon.data.catalogue.example import example_annotation, example_genome
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import SPLITS, Intervals, split_blocks
from helicon.demos.region import held_out_region
from helicon.demos.steps import Step, curve, measured_pretraining, seed_of, shown
from helicon.demos.systems import CONVNOVA, System
from helicon.files import write_aside
from helicon.report.pages.demo import demo_report
from helicon.report.results.demo import (
    Arm,
    DemoResults,
    SeedRun,
)
from helicon.training.finetune.result import FinetuneResult
from helicon.training.pretrain.result import PretrainResult
from helicon.training.run.folder import read_metrics

#: Shares of train, validation and test. Validation chooses a checkpoint and needs no more.
FRACTIONS = (0.90, 0.02, 0.08)
LABELLED_WINDOWS, WINDOW, BATCH = 100, 512, 8
#: Steps of a fine-tuning run at least, however slow the machine.
FEWEST_STEPS = 20


@dataclass(frozen=True)
class DemoResult:
    """What the main job leaves.

    Attributes:
        out: the folder of everything.
        report: the page to open.
        model: folder of the adapted model.
        results: all that was measured.
    """

    out: Path
    report: Path
    model: Path
    results: DemoResults

    @property
    def summary(self) -> str:
        """One table of the comparison and the language model, and what to do next."""
        found = self.results
        measures = ["MCC", *(f"F1 {name}" for name in found.classes)]
        rows = [f"{'gene finding, test blocks':<28}" + "".join(f"{m:>15}" for m in measures)]
        for arm in found.arms:
            spreads = [arm.mcc, *(arm.f1(i) for i in range(len(found.classes)))]
            rows.append(f"{arm.name:<28}" + "".join(f"{s.text():>15}" for s in spreads))
        rows.append(f"{'gain in MCC, by seed':<28}{found.gain.text():>15}")
        rows += ["", f"{'masked nucleotides':<28}{'accuracy':>15}{'perplexity':>15}"]
        for score in (found.pretraining.score, *found.pretraining.baselines):
            rows.append(f"{score.name:<28}{score.accuracy:>15.4f}{score.perplexity:>15.4f}")
        rows += ["", f"report: {self.report}", f"model:  {self.model}", "next:"]
        return "\n".join([*rows, *(f"  {line}" for line in _next(self.model, self.out))])

    def as_dict(self) -> dict[str, Any]:
        """The main figures, for JSON."""
        found = self.results
        return {
            "report": str(self.report),
            "model": str(self.model),
            "mcc": {arm.name: list(arm.mcc.values) for arm in found.arms},
            "gain": found.gain.mean,
            "masked_accuracy": found.pretraining.score.accuracy,
            "masked_perplexity": found.pretraining.score.perplexity,
            "baselines": {b.name: b.accuracy for b in found.pretraining.baselines},
            "seconds": found.provenance["seconds"],
        }


def run(
    out: Path, *, system: System = CONVNOVA, minutes: float, seeds: int, seed: int
) -> DemoResult:
    """Run the main job; `helicon.demos.demo.demo` documents it."""
    began = time.monotonic()
    split = _split_file(out)
    first = Step(
        "pretrain",
        example_genome(),
        {
            "model": system.model,
            "backbone": system.backbone,
            "intervals": split,
            "minutes": round(minutes * system.share, 3),
            **system.pretraining,
            "validation_windows": 96,
            "test_windows": 480,
            "seed": seed,
            "out": out / "pretrained",
        },
    )
    pretrained = first.run()
    each = minutes * 60 * (1 - system.share) / (2 * (seeds + system.probes))
    steps = finetuning_steps(system, pretrained, each)
    adapting = _adapting(out, system, split, steps, seeds, seed)
    arms = {name: step.run() for name, step in adapting.items()}
    results = _results(system, pretrained, arms, split, (first, *adapting.values()), out)
    seconds = time.monotonic() - began
    results = replace(results, provenance={**results.provenance, "seconds": seconds})
    results.write(out / "results.json")
    report = demo_report(results, out / "report.html")
    return DemoResult(out, report, arms["pretrained"].model, results)


def _adapting(
    out: Path, system: System, split: Path, steps: int, seeds: int, seed: int
) -> dict[str, Step]:
    """The ways to adapt a network to the labels, by name."""
    task = {
        "data": example_genome(),
        "labels": example_annotation(),
        "intervals": split,
        "length": WINDOW,
        "labelled_windows": LABELLED_WINDOWS,
        **({} if system.context is None else {"context": system.context}),
    }
    tuned = {
        **task,
        "steps": steps,
        "batch_size": BATCH,
        **system.finetuning,
        "weight_decay": 0.01,
        "dropout": 0.0,
        "eval_every": -(-steps // 3),
        "both_strands": True,
        "seed": seed,
        "seeds": seeds,
    }
    ways = {
        "pretrained": tuned | {"out": out / "finetuned"},
        "from scratch": tuned | {"out": out / "from-scratch", "scratch": True},
    }
    if system.probes:
        probe = {**task, "freeze": True, "both_strands": True}
        fresh = {"out": out / "probed-untrained", "scratch": True, "seed": seed}
        ways["probe of pretrained"] = probe | {"out": out / "probed"}
        ways["probe of untrained"] = probe | fresh
    return {name: Step("finetune", out / "pretrained", options) for name, options in ways.items()}


def finetuning_steps(system: System, pretrained: PretrainResult, seconds: float) -> int:
    """Steps of a fine-tuning run that take about so many seconds, from the speed of pretraining.

    Args:
        system: what is trained.
        pretrained: what pretraining measured.
        seconds: for one run, its validation and test included.
    """
    context = system.context
    if context is None:
        assert pretrained.receptive_field is not None
        context = pretrained.receptive_field // 2
    read = WINDOW + 2 * context
    speed = pretrained.letters_per_second / (1 + system.measuring)
    steps = seconds * speed / (BATCH * read)
    return int(min(system.most_steps, max(FEWEST_STEPS, steps)))


def _split_file(out: Path) -> Path:
    """Divide the genome in contiguous blocks that cut no gene, and write them as a BED file."""
    genome = Genome.open(example_genome())
    genes = read_annotation(example_annotation(), genome).features
    parts = split_blocks(genome, FRACTIONS, whole=genes)
    rows = sorted(_bed_rows(parts), key=lambda row: (row[0], row[1]))
    path = out / "split.bed"
    with write_aside(path) as aside:
        aside.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def _bed_rows(parts: dict[str, Intervals]) -> list[tuple[str, int, int, str]]:
    return [
        (interval.chrom, interval.start, interval.end, name)
        for name in SPLITS
        for interval in parts[name]
    ]


def _results(
    system: System,
    pretrained: PretrainResult,
    arms: dict[str, FinetuneResult],
    split: Path,
    steps: Sequence[Step],
    out: Path,
) -> DemoResults:
    """Put together what the runs have measured."""
    kept = arms["pretrained"]
    drawn = {name: arms[name].model for name in ("pretrained", "from scratch")}
    note = system.note(pretrained.steps)
    return DemoResults(
        genome="Escherichia coli 536 (NC_008253.1)",
        split=pretrained.split,
        model=system.described,
        parameters=pretrained.parameters,
        receptive_field=pretrained.receptive_field,
        classes=kept.names,
        labelled_bases=LABELLED_WINDOWS * WINDOW,
        finetune_steps=(kept.runs or (kept,))[0].steps,
        pretraining=measured_pretraining(pretrained, system.name, (0, 5), note),
        arms=tuple(Arm(name, _seed_runs(result)) for name, result in arms.items()),
        region=held_out_region(drawn, split, WINDOW, system.context or 0),
        model_folder=str(shown(kept.model, out)),
        commands=tuple(step.command(out) for step in steps),
        next_commands=_next(shown(kept.model, out), shown(out, out)),
        provenance=pretrained.provenance,
        objective=system.objective,
    )


def _next(model: Path, out: Path) -> tuple[str, ...]:
    """What to try next, with the folders of the adapted model and of the job."""
    table = "your-table.csv --target your-label --out runs/mine"
    kept, pretrained = (shlex.quote(str(path)) for path in (model, out / "pretrained"))
    return (f"helicon info {kept}", f"helicon finetune {pretrained} {table}")


def _seed_runs(result: FinetuneResult) -> tuple[SeedRun, ...]:
    """The runs of one arm, with what each was measured to do on the test blocks."""
    found = []
    for run in result.runs or (result,):
        matrix = run.scores["test"].confusion
        assert matrix is not None
        rows = read_metrics(run.run / "metrics.jsonl")
        confusion = tuple(tuple(row) for row in matrix.tolist())
        found.append(SeedRun(seed_of(run), confusion, curve(rows, "validation", "mcc")))
    return tuple(found)
