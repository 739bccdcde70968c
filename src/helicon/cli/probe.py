"""`helicon probe`."""

from __future__ import annotations

import shlex

from helicon.cli.options import command as command_of
from helicon.training.probe.probe import probe
from helicon.training.probe.result import ProbeResult

command = command_of(probe)


def show(result: ProbeResult) -> str:
    """The comparison, and the next command."""
    following = f"finetune {shlex.quote(str(result.model))} TRAIN.csv --target COLUMN --out RUN"
    return f"{result.summary}\nnext: helicon {following}"
