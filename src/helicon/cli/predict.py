"""`helicon predict`."""

from __future__ import annotations

from helicon.inference.jobs.keyed import Outcome
from helicon.inference.predict import predict

command = predict


def show(result: Outcome) -> str:
    """What was written."""
    return result.summary
