"""Published weights by name: fetched at first use, verified, converted, kept in the cache.

A checkpoint has the folder `models/NAME` in the cache. It holds the model folder `model`, and while
that is not made yet, what came of the published file; a file that was put there by hand is taken
as it is. Nothing is read before its SHA-256 is the published one.
"""

from __future__ import annotations

from pathlib import Path

from helicon.data.reading.cached import alone
from helicon.data.reading.transfer import fetch_on, shown_progress
from helicon.errors import InputError, WorkError
from helicon.files import sha256
from helicon.models.convert import convert
from helicon.models.huggingface.folder import CONFIG
from helicon.models.parts.family import Checkpoint
from helicon.models.registry import CHECKPOINTS


def published_folder(name: str) -> Path:
    """Return the model folder of published weights; fetch and convert them if it is not there.

    Processes that ask at once wait for the first. A transfer that broke off goes on where it was.

    Args:
        name: a key of `registry.CHECKPOINTS`.

    Raises:
        InputError: the file's home cannot be reached, or a file that was put into the cache by hand
            is not the published one; says what to do.
        WorkError: the transfer broke off, what came is not the published file, or the disk is full.
    """
    checkpoint = CHECKPOINTS[name]
    model = checkpoint.folder / "model"
    if not (model / CONFIG).exists():
        with alone(checkpoint.folder):
            if not (model / CONFIG).exists():
                _make(checkpoint, model)
    return model


def _make(checkpoint: Checkpoint, model: Path) -> None:
    """Convert the published file, fetching it first if it was not put here by hand."""
    file = checkpoint.folder / checkpoint.file
    by_hand = file.exists()
    if not by_hand:
        _fetch(checkpoint, file)
    elif (found := sha256(file)) != checkpoint.sha256:
        raise InputError(
            f"{file}: is not the published file (its SHA-256 is {found}, not {checkpoint.sha256}); "
            "remove it, or put the right one in its place"
        )
    convert(file, model, source=checkpoint.source)
    if not by_hand:
        file.unlink()


def _fetch(checkpoint: Checkpoint, file: Path) -> None:
    """Fetch the published file; it is whole and verified, or absent."""
    part = file.with_name(f"{file.name}.part")
    advice = (
        f"on a machine that reaches it, fetch {checkpoint.address} (SHA-256 "
        f"{checkpoint.sha256}) and put it here as {file}; or run `helicon convert "
        f"{checkpoint.file} OUT --source {checkpoint.source}` and use OUT as the model"
    )
    with shown_progress() as progress:
        fetch_on(checkpoint.url, part, advice, progress, checkpoint.file)
    if sha256(part) != checkpoint.sha256:
        part.unlink()
        raise WorkError(
            f"{checkpoint.url}: what came is not the published file (its SHA-256 is not "
            f"{checkpoint.sha256}); nothing was kept. Try again later, or: {advice}"
        )
    part.replace(file)
