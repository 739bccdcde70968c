"""`helicon variants`."""

from __future__ import annotations

from helicon.inference.variants.variants import VariantsResult, variants

command = variants


def show(result: VariantsResult) -> str:
    """What was scored."""
    return result.summary
