"""`helicon demo`."""

from __future__ import annotations

from helicon.demos.demo import demo
from helicon.demos.main_job import DemoResult
from helicon.demos.protein_job import ProteinDemoResult

command = demo


def show(result: DemoResult | ProteinDemoResult) -> str:
    """The comparison, and what to do next."""
    return result.summary
