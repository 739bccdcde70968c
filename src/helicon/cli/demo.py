"""`helicon demo`."""

from __future__ import annotations

from helicon.demos.main_job import DemoResult, demo

command = demo


def show(result: DemoResult) -> str:
    """The comparison, and what to do next."""
    return result.summary
