"""The main job: pretrain on a genome, adapt with few labels, compare with no pretraining, report.

Every step is a public verb called as a user would call it, and its command is shown in the report.
The two arms of the comparison differ in one thing, the weights they start from: labels, steps,
batches, learning rate and seeds are the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from helicon.data.annotation import read_annotation
from helicon.data.example import example_annotation, example_genome
from helicon.data.genome import Genome
from helicon.data.intervals import SPLITS, Intervals, split_blocks
from helicon.demos.region import held_out_region
from helicon.errors import InputError
from helicon.files import write_aside
from helicon.report.demo_report import demo_report
from helicon.report.demo_results import (
    Arm,
    Curve,
    DemoResults,
    MaskedScore,
    Pretraining,
    SeedRun,
)
from helicon.training.finetune import FinetuneResult, finetune
from helicon.training.pretrain import PretrainResult, pretrain
from helicon.training.run import read_metrics

MODEL = "convnova-tiny"
#: The printed dilation schedule reaches 697 bases with five blocks, where the official one reaches
#: 193: a gene is about a thousand long, and its frame is seen the better the more of it is seen.
BACKBONE = {"schedule": "paper"}
#: Shares of train, validation and test. Validation chooses a checkpoint and needs no more.
FRACTIONS = (0.90, 0.02, 0.08)
LABELLED_WINDOWS, WINDOW, BATCH = 100, 512, 8
#: Steps of a fine-tuning run: no more than these, and no fewer however slow the machine.
MOST_STEPS, FEWEST_STEPS = 160, 20
#: Share of the time that pretraining takes; the rest is for fine-tuning, twice for each seed.
PRETRAINING_SHARE = 0.55
#: Seconds of training that one fine-tuning run spends besides, on measuring: as a share of it.
MEASURING = 0.2


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
        width = max(len(name) for name in found.classes)
        rows = [f"{'gene finding, test blocks':<28}" + "".join(f"{a.name:>24}" for a in found.arms)]
        rows.append(f"{'MCC':<28}" + "".join(f"{a.mcc.text():>24}" for a in found.arms))
        for i, name in enumerate(found.classes):
            values = "".join(f"{arm.f1(i).text():>24}" for arm in found.arms)
            rows.append(f"{'F1 ' + name.ljust(width):<28}" + values)
        rows.append(f"{'gain in MCC, by seed':<28}{found.gain.text():>24}")
        rows += ["", f"{'masked nucleotides':<28}{'accuracy':>24}{'perplexity':>24}"]
        for score in (found.pretraining.score, *found.pretraining.baselines):
            rows.append(f"{score.name:<28}{score.accuracy:>24.4f}{score.perplexity:>24.4f}")
        rows += ["", f"report: {self.report}", f"model:  {self.model}", "next:"]
        return "\n".join([*rows, *(f"  {command}" for command in found.next_commands)])

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


def demo(
    system: Literal["convnova"] = "convnova",
    *,
    out: str | Path = "demo",
    minutes: float = 5.5,
    seeds: int = 3,
    seed: int = 0,
) -> DemoResult:
    """Run the main job on the embedded E. coli genome: pretrain, fine-tune, compare, report.

    A small ConvNova learns to predict hidden bases on the training blocks of the genome. Then it
    learns, from 100 windows of 512 annotated bases, which bases lie between genes, in a gene on
    the forward strand, or in one on the reverse strand; and the same network learns the same from
    random weights. Both are measured on blocks that neither has seen. A job that was stopped goes
    on where it was.

    Args:
        system: which of the systems to show.
        out: the folder to write.
        minutes: time to spend in all. It becomes numbers of steps, which are recorded; a slower
            machine takes fewer.
        seeds: runs of fine-tuning for each of the two ways to start.
        seed: of every random choice; the runs have this seed and those that follow.

    Returns:
        Where the report and the model are, and everything that was measured.

    Raises:
        InputError: an argument is wrong, or `out` holds something else.
        WorkError: a loss is not finite, or the disk is full.
    """
    if system != "convnova":
        raise InputError(f"system: {system!r} is unknown; this version shows convnova")
    if seeds < 1 or minutes <= 0:
        raise InputError("seeds and minutes must be more than 0")
    out, began = Path(out), time.monotonic()
    split = _split_file(out)
    first = _Step(
        "pretrain",
        example_genome(),
        {
            "model": MODEL,
            "backbone": BACKBONE,
            "intervals": split,
            "minutes": round(minutes * PRETRAINING_SHARE, 3),
            "batch_size": BATCH,
            "lr": 4e-3,
            "mask_rate": 0.15,
            "validation_windows": 96,
            "test_windows": 480,
            "seed": seed,
            "out": out / "pretrained",
        },
    )
    pretrained = first.run()
    steps = finetuning_steps(pretrained, minutes * 60 * (1 - PRETRAINING_SHARE) / (2 * seeds))
    second = _Step(
        "finetune",
        out / "pretrained",
        {
            "train": example_genome(),
            "labels": example_annotation(),
            "intervals": split,
            "length": WINDOW,
            "labelled_windows": LABELLED_WINDOWS,
            "steps": steps,
            "batch_size": BATCH,
            "lr": 3e-3,
            "weight_decay": 0.01,
            "dropout": 0.0,
            "eval_every": -(-steps // 3),
            "rc_average": True,
            "seed": seed,
            "seeds": seeds,
            "out": out / "finetuned",
        },
    )
    third = replace(second, options=second.options | {"scratch": True, "out": out / "from-scratch"})
    arms = {"pretrained": second.run(), "from scratch": third.run()}
    results = _results(pretrained, arms, split, (first, second, third))
    seconds = time.monotonic() - began
    results = replace(results, provenance={**results.provenance, "seconds": seconds})
    results.write(out / "results.json")
    report = demo_report(results, out / "report.html")
    return DemoResult(out, report, arms["pretrained"].model, results)


@dataclass(frozen=True)
class _Step:
    """One verb with its arguments: to be called, and to be shown as a command."""

    verb: Literal["pretrain", "finetune"]
    subject: Path
    options: dict[str, Any]

    def run(self) -> Any:
        """Call the verb, or take up what an earlier call left."""
        if self.verb == "pretrain":
            return pretrain(self.subject, **self.options, resume=True)
        return finetune(str(self.subject), **self.options, resume=True)

    @property
    def command(self) -> str:
        """The command line that does the same."""
        positional = [str(self.subject)]
        words: list[str] = []
        for name, value in self.options.items():
            flag = "--" + name.replace("_", "-")
            if name == "train":
                positional.append(str(value))
            elif isinstance(value, dict):
                words += [f"{flag}.{key} {entry}" for key, entry in value.items()]
            else:
                words.append(flag if value is True else f"{flag} {value}")
        return " ".join(["helicon", self.verb, *positional, *words])


def finetuning_steps(pretrained: PretrainResult, seconds: float) -> int:
    """Steps of a fine-tuning run that take about so many seconds, from the speed of pretraining.

    Args:
        pretrained: what pretraining measured.
        seconds: for one run, its validation and test included.
    """
    assert pretrained.receptive_field is not None
    read = WINDOW + 2 * (pretrained.receptive_field // 2)
    steps = seconds / (1 + MEASURING) * pretrained.bases_per_second / (BATCH * read)
    return int(min(MOST_STEPS, max(FEWEST_STEPS, steps)))


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
    pretrained: PretrainResult,
    arms: dict[str, FinetuneResult],
    split: Path,
    steps: Sequence[_Step],
) -> DemoResults:
    """Put together what the runs have measured."""
    kept = arms["pretrained"]
    models = {name: result.model for name, result in arms.items()}
    return DemoResults(
        genome="Escherichia coli 536 (NC_008253.1)",
        split=pretrained.split,
        model=f"{MODEL}, {BACKBONE['schedule']} dilations",
        parameters=pretrained.parameters,
        receptive_field=pretrained.receptive_field,
        classes=kept.names,
        labelled_bases=LABELLED_WINDOWS * WINDOW,
        finetune_steps=(kept.runs or (kept,))[0].steps,
        pretraining=_pretraining(pretrained),
        arms=tuple(Arm(name, _seed_runs(result)) for name, result in arms.items()),
        region=held_out_region(models, split),
        model_folder=str(kept.model),
        commands=tuple(step.command for step in steps),
        next_commands=(
            f"helicon info {kept.model}",
            f"helicon finetune {pretrained.run} your-table.csv --target your-label --out runs/mine",
        ),
        provenance=pretrained.provenance,
    )


def _pretraining(result: PretrainResult) -> Pretraining:
    rows = read_metrics(result.run / "metrics.jsonl")
    return Pretraining(
        training=_curve(rows, "train", "loss"),
        validation=_curve(rows, "validation", "loss"),
        steps=result.steps,
        bases=result.bases,
        seconds=result.seconds,
        score=MaskedScore("ConvNova", result.test["accuracy"], result.test["perplexity"]),
        baselines=tuple(
            MaskedScore(f"Markov, order {b.order}", b.accuracy, b.perplexity)
            for b in result.baselines
            if b.order in (0, 5)
        ),
    )


def _seed_runs(result: FinetuneResult) -> tuple[SeedRun, ...]:
    """The runs of one arm, with what each was measured to do on the test blocks."""
    found = []
    for run in result.runs or (result,):
        matrix = run.scores["test"].confusion
        assert matrix is not None
        rows = read_metrics(run.run / "metrics.jsonl")
        seed = json.loads((run.run / "results.json").read_text())["provenance"]["seed"]
        confusion = tuple(tuple(row) for row in matrix.tolist())
        found.append(SeedRun(seed, confusion, _curve(rows, "validation", "mcc")))
    return tuple(found)


def _curve(rows: list[dict[str, Any]], kind: str, name: str) -> Curve:
    return tuple((row["step"], row[name]) for row in rows if row["kind"] == kind)
