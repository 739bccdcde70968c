"""Published weights by name: fetched at first use, verified, converted, kept in the cache.

A checkpoint has the folder `models/NAME` in the cache. It holds the model folder `model`, and while
that is not made yet, what came of the published file; a file that was put there by hand is taken
as it is. Nothing is read before its SHA-256 is the published one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from helicon.data.reading.cached import alone
from helicon.data.reading.transfer import fetch_on, shown_progress
from helicon.errors import InputError, WorkError
from helicon.files import cache_folder, sha256
from helicon.models.convert import Source, convert
from helicon.models.huggingface.folder import CONFIG

#: Environment variable with the http address of a folder that holds the published files under
#: their names, in place of their public homes.
MIRROR = "HELICON_MIRROR"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint. How many bytes it has is not published.

    Attributes:
        name: the named size whose weights they are.
        address: its public address.
        file: its name.
        sha256: its checksum, 64 hexadecimal digits.
        source: the code that it comes from.
    """

    name: str
    address: str
    file: str
    sha256: str
    source: Source

    @property
    def url(self) -> str:
        """Where it is fetched from: its public address, or a mirror."""
        mirror = os.environ.get(MIRROR)
        return f"{mirror.rstrip('/')}/{self.file}" if mirror else self.address

    @property
    def folder(self) -> Path:
        """Where it is kept on this machine."""
        return cache_folder() / "models" / self.name


def _carp(size: str, sha256: str) -> Checkpoint:
    """CARP's weights: Yang, Fusi and Lu, DOI 10.5281/zenodo.6564798."""
    file = f"carp_{size}.pt"
    address = f"https://zenodo.org/record/6564798/files/{file}?download=1"
    return Checkpoint(f"carp-{size.lower()}", address, file, sha256, "carp")


_KNOWN = (
    _carp("600k", "787f618e90cfdd6cbe2d98ab944e89dea00e972d81019181aba14bbf31e96e1e"),
    _carp("38M", "b66b68bce0fd690c780032140297de8fea1f94bfa5ecd67fb408ab3a3794cc3b"),
    _carp("76M", "7d224abac5eb2d5d649353352acb58efcae94277d26e25f1ac2cf90598205264"),
    _carp("640M", "ae1d7e0cbe713c731cfde7ace213f2a73372c31d8df543089e6b6d371228c4f7"),
)

#: Published weights by the named size that means them.
CHECKPOINTS: dict[str, Checkpoint] = {one.name: one for one in _KNOWN}
CHECKPOINTS["carp"] = CHECKPOINTS["carp-640m"]


def published_folder(name: str) -> Path:
    """Return the model folder of published weights; fetch and convert them if it is not there.

    Processes that ask at once wait for the first. A transfer that broke off goes on where it was.

    Args:
        name: a key of `CHECKPOINTS`.

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
