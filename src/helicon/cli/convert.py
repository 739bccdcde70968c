"""`helicon convert`."""

from __future__ import annotations

import shlex

from helicon.models.convert import ConversionReport, convert

command = convert


def show(report: ConversionReport) -> str:
    """What was read, what was left, and the next command."""
    lines = [
        f"{report.folder}: {report.model_class}, from {len(report.used)} weights of "
        f"{report.source}",
        *(f"  left out: {key}" for key in report.unused),
        f"next: helicon info {shlex.quote(str(report.folder))}",
    ]
    return "\n".join(lines)
