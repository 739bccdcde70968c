"""`helicon finetune`."""

from __future__ import annotations

from helicon.cli.options import command as command_of
from helicon.report import run_report
from helicon.training.finetune.finetune import FinetuneResult, finetune

command = command_of(finetune)


def show(result: FinetuneResult) -> str:
    """Write the run's report; say what was measured, and the next command."""
    report = run_report(result.run)
    lines = [result.summary, f"report: {report}", f"next: helicon {result.next_command}"]
    return "\n".join(lines)
