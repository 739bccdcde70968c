"""What a page shows of a student and its teacher over a run."""

from __future__ import annotations

from helicon.report.figures.curves import learning_curves
from helicon.report.pages.page import Block, Columns, Prose
from helicon.report.results.distillation import COLLAPSED, Watch


def watched(watch: Watch | None) -> list[Block]:
    """Whether the teacher has collapsed, and the curves that say so; nothing without a teacher."""
    if watch is None:
        return []
    one, each, most = watch.choice, watch.each, f"log {watch.choices}"
    figures = [
        learning_curves(
            {"teacher": [watch.teacher_entropy], "student": [watch.student_entropy]},
            title=f"Entropy over the {'CLS tokens' if one == 'token' else watch.over}",
            y_label=f"nats, mean over {each}s",
            references={most: watch.most_entropy, f"one {one}": 0.0},
            caption=f"At {most} all {one}s are alike; at 0 one has all weight.",
        ),
        learning_curves(
            {"": [watch.spread]},
            title="Spread of the teacher over sequences",
            y_label="standard deviation of its probabilities",
            references={"collapse": COLLAPSED * watch.most_spread},
            caption="Below the dashed line it says nearly the same of every sequence.",
        ),
        learning_curves(
            {"": [watch.agreement]},
            title="Agreement of the two views",
            y_label=f"share of {each}s with the same first {one}",
            references={"chance": 1 / watch.choices},
        ),
        learning_curves(
            {"": [watch.cls_loss]},
            title="Loss between the views",
            y_label=f"cross-entropy at the CLS tokens, nats a {each}",
        ),
        learning_curves(
            {"": [watch.center_norm]},
            title="Norm of the centre",
            y_label="root mean square of its entries",
        ),
    ]
    return [Prose(watch.verdict()), Columns(figures)]
