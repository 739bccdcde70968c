"""The report of the main job: pretraining, adaptation with few labels, and what it was worth.

The page is made from a `DemoResults` alone, which `DemoResults.read` gets from its file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helicon.report.figures.browser import Feature, Panel, genome_browser
from helicon.report.figures.comparison import comparison
from helicon.report.figures.confusion import confusion_matrix
from helicon.report.figures.curves import learning_curves
from helicon.report.figures.figure import Figure
from helicon.report.pages.masked_modelling import masked_modelling
from helicon.report.pages.page import (
    Block,
    Card,
    Cards,
    Columns,
    Facts,
    Prose,
    Report,
    Section,
    with_commands,
)
from helicon.report.pages.teacher import watched
from helicon.report.results.demo import DemoResults
from helicon.report.results.spread import Spread
from helicon.report.tables import Cell, Column, Table
from helicon.report.wording import bases, duration, facts, percent


def demo_report(results: DemoResults, path: str | Path) -> Path:
    """Write the page of the main job.

    Args:
        results: what was measured.
        path: of the HTML file.
    """
    sections = [
        Section("Gene finding with few labels", _gene_finding(results)),
        Section("A held-out region", [region_figure(results)]),
        Section("Pretraining", masked_modelling(results.pretraining, "nucleotide", "test blocks")),
        Section("Teacher and student", watched(results.pretraining.watch)),
        Section("What was run", _what_was_run(results)),
        Section("Next", _next(results)),
        Section("Provenance", [Facts(list(facts(results.provenance)))]),
    ]
    return Report(
        title=f"Gene finding in {results.genome}",
        subtitle=(
            f"`{results.model}` pretrained by {results.objective}, then fine-tuned on "
            f"{bases(results.labelled_bases)} of annotated sequence, against the same network "
            "from random initialisation. Measured on blocks of the genome that were held out."
        ),
        sections=[section for section in sections if section.blocks],
        lead=[_cards(results)],
        kind="Helicon · demo",
    ).write(path)


def region_figure(results: DemoResults) -> Figure:
    """The genome-browser figure: probabilities of every arm above the annotated genes."""
    region = results.region
    return genome_browser(
        region.chrom,
        region.start,
        region.end,
        [Panel(track.name, track.forward, track.reverse) for track in region.tracks],
        [Feature(gene.start, gene.end, gene.strand, gene.name) for gene in region.genes],
        region_name=region.description,
        title=f"Predicted and annotated genes along {bases(region.end - region.start)}",
    )


def _cards(results: DemoResults) -> Cards:
    cards = [
        Card(f"MCC, {arm.name}", f"{arm.mcc.mean:.3f}", _spread_note(arm.mcc))
        for arm in results.arms[:2]
    ]
    gain = results.gain
    interval = gain.interval
    within = f"95 % interval {interval[0]:+.3f} to {interval[1]:+.3f}" if interval else ""
    cards.append(Card("gain in MCC", f"{gain.mean:+.3f}", within))
    best = max(results.pretraining.baselines, key=lambda b: b.accuracy, default=None)
    note = f"{best.name} {percent(best.accuracy)}" if best else ""
    score = results.pretraining.score
    cards.append(Card("masked accuracy", percent(score.accuracy), note))
    cards.append(Card("total time", duration(results.provenance["seconds"])))
    return Cards(cards)


def _spread_note(spread: Spread) -> str:
    if len(spread.finite) < 2:
        return "one seed"
    return f"± {spread.deviation:.3f}, {len(spread.finite)} seeds"


def _gene_finding(results: DemoResults) -> list[Block]:
    found: list[Block] = [Columns([_mcc_figure(results), _confusion_figure(results)])]
    found.append(_class_table(results))
    curves = {
        arm.name: [run.validation for run in arm.runs]
        for arm in results.arms
        if any(step > 0 for run in arm.runs for step, _ in run.validation)
    }
    if curves:
        found.append(
            learning_curves(
                curves,
                title="While fine-tuning",
                y_label="multiclass MCC on validation data",
                caption="Thin: every seed; bold: their mean.",
            )
        )
    return found


def _mcc_figure(results: DemoResults) -> Figure:
    return comparison(
        {arm.name: arm.mcc.values for arm in results.arms},
        "multiclass MCC on test blocks",
        title="Pretrained against from scratch",
        limits=_mcc_limits(results),
        caption=_probed(results) or "Same labels and budget for all.",
    )


def _probed(results: DemoResults) -> str:
    """What the arms behind the first two are; nothing where there are none."""
    if len(results.arms) == 2:
        return ""
    return (
        "Same labels for all, and same budget for the first two. A probe is a linear map, fitted "
        "to the features of a network that stays as it is."
    )


def _confusion_figure(results: DemoResults) -> Figure:
    first, k = results.arms[0], len(results.classes)
    counts = sum((run.counts for run in first.runs), np.zeros((k, k), dtype=np.int64))
    seeds = f"all {len(first.runs)} seeds together" if len(first.runs) > 1 else "one seed"
    return confusion_matrix(
        counts,
        results.classes,
        title=f"Confusion matrix, {first.name}",
        caption=f"Test blocks, {seeds}.",
        unit="bases",
    )


def _class_table(results: DemoResults) -> Table:
    columns = [Column("model"), Column("MCC", "number", best="max")]
    columns += [Column(f"F1 {name}", "number", best="max") for name in results.classes]
    rows: list[Sequence[Cell]] = [
        (arm.name, arm.mcc, *(arm.f1(i) for i in range(len(results.classes))))
        for arm in results.arms
    ]
    most = max(len(arm.runs) for arm in results.arms)
    note = f"Mean ± standard deviation over {most} seeds." if most > 1 else "One seed."
    if most > 1 and len(results.arms) > 2:
        note += " Each probe is one run."
    return Table("Per-nucleotide classes on the test blocks", columns, rows, note)


def _mcc_limits(results: DemoResults) -> tuple[float, float]:
    """Zero (no better than chance) to one, further down only where a seed lies there."""
    lowest = min((v for arm in results.arms for v in arm.mcc.finite), default=0.0)
    return math.floor(10 * min(lowest, 0)) / 10, 1.0


def _what_was_run(results: DemoResults) -> list[Block]:
    run = results.pretraining
    field = results.receptive_field
    pairs = [
        ("model", results.model),
        ("parameters", f"{results.parameters:,}"),
        ("receptive field", "global" if field is None else f"{field:,} bp"),
        *((f"{name} blocks", bases(count)) for name, count in results.split.items()),
        ("pretraining", f"{run.steps:,} steps, {bases(run.letters)} seen, {duration(run.seconds)}"),
        (
            "fine-tuning",
            f"{results.finetune_steps:,} steps a run, {bases(results.labelled_bases)} of labels",
        ),
        ("seeds", ", ".join(str(run.seed) for run in results.arms[0].runs)),
    ]
    return with_commands(Facts(pairs), results.commands)


def _next(results: DemoResults) -> list[Block]:
    text = (
        f"The adapted model stands in `{results.model_folder}`. After `import helicon`, "
        "`AutoModelForTokenClassification.from_pretrained` opens it."
    )
    return with_commands(Prose(text), results.next_commands)
