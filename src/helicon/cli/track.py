"""`helicon track`."""

from __future__ import annotations

from helicon.inference.tracks.track import TrackResult, track

command = track


def show(result: TrackResult) -> str:
    """What was written."""
    return result.summary
