"""`helicon finetune`."""

from __future__ import annotations

from helicon.report import run_report
from helicon.training.finetune.finetune import FinetuneResult, finetune

command = finetune


def show(result: FinetuneResult) -> str:
    """Write the run's report; say what was measured, and the next command."""
    report = run_report(result.run)
    following = f"evaluate {result.run} DATA --target COLUMN"
    if result.names == ("contact",):
        following = f"predict {result.run} PROTEINS.fasta --out contacts.parquet"
    lines = [result.summary, f"report: {report}", f"next: helicon {following}"]
    return "\n".join(lines)
