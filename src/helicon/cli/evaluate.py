"""`helicon evaluate`."""

from __future__ import annotations

from helicon.training.evaluate.evaluate import EvaluateResult, evaluate

command = evaluate


def show(result: EvaluateResult) -> str:
    """What was measured."""
    return result.summary
