"""`helicon probe`."""

from __future__ import annotations

from helicon.training.probe.probe import probe
from helicon.training.probe.result import ProbeResult

command = probe


def show(result: ProbeResult) -> str:
    """The comparison, and the next command."""
    following = f"finetune {result.model} TRAIN.csv --target COLUMN --out RUN"
    return f"{result.summary}\nnext: helicon {following}"
