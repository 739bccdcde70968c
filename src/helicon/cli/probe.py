"""`helicon probe`."""

from __future__ import annotations

from helicon.training.probe_result import ProbeResult
from helicon.training.probing import probe

command = probe


def show(result: ProbeResult) -> str:
    """The comparison, and the next command."""
    following = f"finetune {result.model} TRAIN.csv --target COLUMN --out RUN"
    return f"{result.summary}\nnext: helicon {following}"
