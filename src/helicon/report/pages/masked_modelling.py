"""What a demo's page shows of pretraining: curves and a table beside the baselines."""

from __future__ import annotations

import math

from helicon.report.figures.curves import loss_curves
from helicon.report.pages.page import Block, Prose
from helicon.report.results.demo import Pretraining
from helicon.report.results.distillation import LETTERS
from helicon.report.tables import Column, Table


def masked_modelling(run: Pretraining, letter: str, part: str, caption: str = "") -> list[Block]:
    """The loss over the steps, and what was measured on the test part.

    Args:
        run: what was measured.
        letter: what the model predicts: `nucleotide` or `residue`.
        part: what was measured on: `test blocks`, `test clusters`.
        caption: sentence more about the curves.
    """
    columns = [
        Column("model"),
        Column("accuracy", "percent", 1, best="max"),
        Column("perplexity", "number", 3, best="min"),
    ]
    if run.watch is not None:
        caption = f"{LETTERS} {caption}".strip()
    found: list[Block] = [
        loss_curves(
            {"": run.training},
            {"": run.validation},
            {b.name: math.log(b.perplexity) for b in run.baselines if b.perplexity > 0},
            title=f"Loss of masked-{letter} modelling",
            y_label=f"cross-entropy, nats per masked {letter}",
            caption=f"Dashed: baselines on the {part}. {caption}".strip(),
        ),
        Table(
            f"Masked {letter}s of the {part}",
            columns,
            [
                (score.name, score.accuracy, score.perplexity)
                for score in (run.score, *run.baselines)
            ],
        ),
    ]
    if run.note:
        found.append(Prose(run.note))
    return found
