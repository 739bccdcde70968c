"""`helicon evaluate`."""

from __future__ import annotations

from helicon.cli.options import command as command_of
from helicon.training.evaluate.evaluate import EvaluateResult, evaluate

command = command_of(evaluate)


def show(result: EvaluateResult) -> str:
    """What was measured."""
    return result.summary
