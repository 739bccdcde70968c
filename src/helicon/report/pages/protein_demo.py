"""The report of the protein job: pretraining, a property of genes, and what pretraining was worth.

The page is made from a `ProteinDemoResults` alone, which `ProteinDemoResults.read` gets from its
file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helicon.report.figures.comparison import comparison
from helicon.report.figures.curves import learning_curves
from helicon.report.figures.figure import Figure
from helicon.report.figures.scatter import scatter
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
from helicon.report.results.protein_demo import MEASURES, ProteinDemoResults
from helicon.report.tables import Cell, Column, Table
from helicon.report.wording import duration, facts, label

_INDEX = "codon adaptation index"


def protein_demo_report(results: ProteinDemoResults, path: str | Path) -> Path:
    """Write the page of the protein job.

    Args:
        results: what was measured.
        path: of the HTML file.
    """
    sections = [
        Section("Codon adaptation from proteins", _adaptation(results)),
        Section("Pretraining", _pretraining(results)),
        Section("The split", [_split_table(results)]),
        Section("What was run", _what_was_run(results)),
        Section("Next", _next(results)),
        Section("Provenance", [Facts(list(facts(results.provenance)))]),
    ]
    return Report(
        title=f"Proteins of {results.genome}",
        subtitle=(
            f"`{results.model}` pretrained by masked-residue modelling, then fine-tuned to predict "
            "the codon adaptation index of a gene from its protein, against the same network from "
            "random initialisation. Measured on clusters of proteins that were held out of both."
        ),
        sections=sections,
        lead=[_cards(results)],
        kind="Helicon · demo",
    ).write(path)


def _cards(results: ProteinDemoResults) -> Cards:
    cards = []
    for arm in results.arms[:2]:
        spread = results.measure(arm)
        seeds = len(spread.finite)
        note = f"± {spread.deviation:.3f}, {seeds} seeds" if seeds > 1 else "one seed"
        cards.append(Card(f"Spearman, {arm.name}", f"{spread.mean:.3f}", note))
    low, high = results.gain_interval
    note = f"95 % interval over genes {low:+.3f} to {high:+.3f}"
    cards.append(Card("gain in Spearman", f"{results.gain.mean:+.3f}", note))
    run = results.pretraining
    best = min(run.baselines, key=lambda b: b.perplexity, default=None)
    note = f"{best.name} {best.perplexity:.2f}" if best else ""
    cards.append(Card("masked perplexity", f"{run.score.perplexity:.2f}", note))
    cards.append(Card("total time", duration(results.provenance["seconds"])))
    return Cards(cards)


def _adaptation(results: ProteinDemoResults) -> list[Block]:
    text = (
        f"The {_INDEX} of a gene says how much its codons are those that the genome's most adapted "
        f"genes prefer: here {results.reference_genes} genes that dominate the genome's codon "
        "usage, found from the genome alone. It is high for proteins that a cell makes much of. "
        "The model sees the protein, in which synonymous codons are the same."
    )
    found: list[Block] = [
        Prose(text),
        Columns([_seeds_figure(results), _scatter_figure(results)]),
        _measures_table(results),
    ]
    curves = {arm.name: [run.validation for run in arm.runs] for arm in results.arms}
    if any(len(points) for runs in curves.values() for points in runs):
        found.append(
            learning_curves(
                curves,
                title="While fine-tuning",
                y_label="Spearman correlation on validation genes",
                caption="Thin: every seed; bold: their mean.",
            )
        )
    return found


def _seeds_figure(results: ProteinDemoResults) -> Figure:
    values = {arm.name: results.measure(arm).values for arm in results.arms}
    levels = {arm.name: results.measure(arm).mean for arm in results.baselines}
    every = [v for group in (*values.values(), levels.values()) for v in group if math.isfinite(v)]
    lowest = math.floor(10 * min([0.0, *every])) / 10
    return comparison(
        values,
        "Spearman on test genes",
        levels,
        title="Pretrained against from scratch",
        limits=(lowest, math.ceil(10 * max([0.1, *every])) / 10),
        caption="Same genes and budget for all. Dashed: ridge regressions.",
    )


def _scatter_figure(results: ProteinDemoResults) -> Figure:
    arm = results.kept_arm
    runs = f"mean of {len(arm.runs)} seeds" if len(arm.runs) > 1 else "one run"
    truth = np.array(results.truth)
    return scatter(
        truth,
        arm.mean,
        title=f"Predicted and true: {arm.name}",
        x_label=_INDEX,
        y_label="predicted from the protein",
        series=results.arms.index(arm),
        unit="test genes",
        caption=f"{len(truth):,} test genes, {runs}. Of the models the best on validation genes.",
    )


def _measures_table(results: ProteinDemoResults) -> Table:
    columns = [Column("model")]
    for name in MEASURES:
        best = "min" if name == "rmse" else "max"
        columns.append(Column(label(name), "number", best=best))  # type: ignore[arg-type]
    rows: list[Sequence[Cell]] = []
    for arm in (*results.arms, *results.baselines):
        kind = "" if arm in results.arms else ", ridge regression"
        rows.append((arm.name + kind, *(results.measure(arm, name) for name in MEASURES)))
    most = max(len(arm.runs) for arm in results.arms)
    note = f"Mean ± standard deviation over {most} seeds. " if most > 1 else "One seed. "
    note += (
        "All learn from the same genes; validation genes choose checkpoints and penalties. "
        f"Fine-tuning and training from scratch have {results.finetune_steps:,} steps a run: the "
        "gain is what pretraining is worth at that budget, and shrinks with more steps."
    )
    return Table(f"{_INDEX.capitalize()} of the test genes", columns, rows, note)


def _pretraining(results: ProteinDemoResults) -> list[Block]:
    caption = (
        "In training a tenth of the targets show the residue itself, as CARP does it, so its loss "
        "lies below that of validation, where all are hidden."
    )
    return masked_modelling(results.pretraining, "residue", "test clusters", caption)


def _split_table(results: ProteinDemoResults) -> Table:
    columns = [
        Column("part"),
        *(Column(n, "integer") for n in ("proteins", "clusters", "residues")),
    ]
    rows = [
        (name, part.proteins, part.clusters, part.residues) for name, part in results.split.items()
    ]
    note = f"The same for pretraining and the task. Clusters: {results.clusters_by}."
    return Table("Proteins of each part", columns, rows, note)


def _what_was_run(results: ProteinDemoResults) -> list[Block]:
    run = results.pretraining
    field = results.receptive_field
    share = run.letters / max(results.split["train"].residues, 1)
    pairs = [
        ("model", results.model),
        ("parameters", f"{results.parameters:,}"),
        ("receptive field", "global" if field is None else f"{field:,} residues"),
        (
            "pretraining",
            f"{run.steps:,} steps, {run.letters:,} residues seen ({share:.1f} times the proteome), "
            f"{duration(run.seconds)}",
        ),
        (
            "fine-tuning",
            f"{results.finetune_steps:,} steps a run, {results.split['train'].proteins:,} genes",
        ),
        ("seeds", ", ".join(str(run.seed) for run in results.arms[0].runs)),
    ]
    return with_commands(Facts(pairs), results.commands)


def _next(results: ProteinDemoResults) -> list[Block]:
    text = (
        f"The model that was best on validation genes stands in `{results.model_folder}`. After "
        "`import helicon`, "
        "`AutoModelForSequenceClassification.from_pretrained` opens it."
    )
    return with_commands(Prose(text), results.next_commands)
