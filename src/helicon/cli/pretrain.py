"""`helicon pretrain`."""

from __future__ import annotations

from helicon.cli.options import command as command_of
from helicon.report import run_report
from helicon.training.pretrain.pretrain import PretrainResult, pretrain

command = command_of(pretrain)


def show(result: PretrainResult) -> str:
    """Write the run's report; say what was measured, and the next command."""
    report = run_report(result.run)
    lines = [
        result.summary,
        f"report: {report}",
        f"next: helicon finetune {result.run} TRAIN.csv --target COLUMN --out RUN",
    ]
    return "\n".join(lines)
