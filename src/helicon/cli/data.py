"""`helicon data list`, `helicon data fetch` and `helicon data verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cyclopts import App

from helicon.cli.output import aligned
from helicon.data.catalogue import catalogue
from helicon.data.reading.transfer import shown_progress
from helicon.errors import WorkError


@dataclass(frozen=True)
class Listed:
    """A data set of the catalogue.

    Attributes:
        name: the name.
        path: where it is on this machine; `None` if not all of it is.
        files: number of its files.
        description: what it is.
        licence: under which terms it may be used.
        home: where it comes from.
        caution: what to know before using it, or empty.
    """

    name: str
    path: Path | None
    files: int
    description: str
    licence: str
    home: str
    caution: str


def list_datasets() -> list[Listed]:
    """List the data sets, and where those are that this machine has."""
    return [
        Listed(
            one.name,
            catalogue.locate(one.name),
            len(one.files),
            one.description,
            one.licence,
            one.home,
            one.caution,
        )
        for one in catalogue.DATASETS.values()
    ]


def fetch(name: str) -> Path:
    """Fetch a data set, or a part of one, from its public home into the cache.

    What is on this machine already is not fetched again. Every file is checked against its
    published checksum.

    Args:
        name: a name of `helicon data list`, or a part of one such as `gue-mouse/2`.
    """
    with shown_progress() as progress:
        return catalogue.fetch(name, progress=progress)


def verify(name: str | None = None) -> dict[str, str]:
    """Compare files on this machine with their published checksums.

    Args:
        name: a data set or a part of one; if not given, all files of the catalogue that are here.

    Returns:
        For each file `ok`, `missing` or `no checksum`.

    Raises:
        WorkError: a file is damaged or was changed.
    """
    names = [name] if name is not None else list(catalogue.DATASETS)
    states = {file: state for one in names for file, state in catalogue.verify(one).items()}
    if name is None:
        states = {file: state for file, state in states.items() if state != "missing"}
    if damaged := [file for file, state in states.items() if state == "changed"]:
        raise WorkError(f"{', '.join(damaged)}: not what was published; remove and fetch it again")
    return dict(states)


command = App(name="data", help="List, fetch and verify public data sets.")
command.command(list_datasets, name="list")
command.command(fetch)
command.command(verify)


def show(result: list[Listed] | Path | dict[str, str]) -> str:
    """A table of data sets or of files, or a path."""
    if isinstance(result, Path):
        return str(result)
    if isinstance(result, dict):
        return aligned(result.items()) if result else "no file of the catalogue is on this machine"
    return aligned([(one.name, "here" if one.path else "-", one.description) for one in result])
