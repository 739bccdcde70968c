"""`helicon embed`."""

from __future__ import annotations

from helicon.inference.embed import embed
from helicon.inference.jobs.keyed import Outcome

command = embed


def show(result: Outcome) -> str:
    """What was written."""
    return result.summary
