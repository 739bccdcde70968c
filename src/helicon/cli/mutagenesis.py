"""`helicon mutagenesis`."""

from __future__ import annotations

from helicon.inference.mutagenesis.mutagenesis import MutagenesisResult, mutagenesis

command = mutagenesis


def show(result: MutagenesisResult) -> str:
    """What was scored."""
    return result.summary
