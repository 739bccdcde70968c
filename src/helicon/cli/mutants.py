"""`helicon mutants`."""

from __future__ import annotations

from helicon.inference.mutants.mutants import MutantsResult, mutants

command = mutants


def show(result: MutantsResult) -> str:
    """What was scored."""
    return result.summary
