"""`helicon pretrain`."""

from __future__ import annotations

import shlex

from helicon.cli.options import command as command_of
from helicon.report import run_report
from helicon.training.pretrain.pretrain import PretrainResult, pretrain

command = command_of(pretrain)


def show(result: PretrainResult) -> str:
    """Write the run's report; say what was measured, and the next command."""
    report, run = run_report(result.run), shlex.quote(str(result.run))
    lines = [
        result.summary,
        f"report: {report}",
        f"next: helicon finetune {run} TRAIN.csv --target COLUMN --out RUN",
    ]
    return "\n".join(lines)
