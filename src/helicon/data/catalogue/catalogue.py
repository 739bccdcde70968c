"""Data sets by name: found on this machine, fetched from their public home, verified.

`catalogue.toml` beside this file lists them. A data set is a folder of that name, looked for in the
folders of `HELICON_DATA` first, then in the cache. A name may go on into the folder: `gue-mouse` is
all tasks, `gue-mouse/2` one, `gue-mouse/2/train.csv.gz` a file.
"""

from __future__ import annotations

import contextlib
import difflib
import gzip
import hashlib
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import BinaryIO, Literal

from helicon.data.reading import transfer
from helicon.data.reading.compressed import open_content
from helicon.data.reading.transfer import Progress
from helicon.errors import InputError, WorkError
from helicon.files import cache_folder, data_folders, write_aside

State = Literal["ok", "changed", "missing", "no checksum"]

_BLOCK = 1 << 18
_SPLIT_FILES = {
    "train": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes:
        path: where it lies below a data folder, the data set's name first.
        url: its public address, or `None` where it has none of its own.
        sha256: hash of its content (of what is inside, for a name in `.gz`), or `None` where its
            home publishes no checksum.
    """

    path: str
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set, or the part of one that a longer name means.

    Attributes:
        name: the name, which is also its folder.
        description: what it is.
        licence: under which terms it may be used.
        home: where it comes from.
        caution: what to know before using it, or empty.
        files: its files.
    """

    name: str
    description: str
    licence: str
    home: str
    caution: str
    files: tuple[DataFile, ...]


def _read_catalogue() -> dict[str, Dataset]:
    text = resources.files("helicon.data.catalogue").joinpath("catalogue.toml").read_text()
    return {name: _dataset(name, entry) for name, entry in tomllib.loads(text).items()}


def _dataset(name: str, entry: dict) -> Dataset:
    files = tuple(
        DataFile(
            path=f"{name}/{file['path']}",
            url=entry["base"] + file["at"] if "at" in file else None,
            sha256=file.get("sha256"),
        )
        for file in entry["files"]
    )
    words = (entry["description"], entry["licence"], entry["home"], entry.get("caution", ""))
    return Dataset(name, *words, files)


DATASETS = _read_catalogue()


def select(name: str) -> Dataset:
    """Return the data set of a name, or the part of it that a longer name means.

    Raises:
        InputError: there is none of that name.
    """
    name = name.strip("/")
    whole = DATASETS.get(name.partition("/")[0])
    if whole is not None:
        files = tuple(f for f in whole.files if f"{f.path}/".startswith(f"{name}/"))
        if files:
            return replace(whole, name=name, files=files)
    parts = {str(parent) for d in DATASETS.values() for f in d.files for parent in _parents(f)}
    near = difflib.get_close_matches(name, sorted(parts), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; see `helicon data list`"
    raise InputError(f"there is no data set {name!r}{hint}")


def _parents(file: DataFile) -> list[Path]:
    return [Path(file.path), *Path(file.path).parents][:-1]


def locate(name: str) -> Path | None:
    """Return the folder (or file) of a data set if all of its files are on this machine.

    Raises:
        InputError: there is no data set of that name.
    """
    dataset = select(name)
    for root in _roots():
        if all((root / file.path).is_file() for file in dataset.files):
            return root / dataset.name
    return None


def find(name: str) -> Path:
    """Return the folder (or file) of a data set.

    Raises:
        InputError: there is no data set of that name, or not all of it is on this machine; says
            what to do.
    """
    if (path := locate(name)) is not None:
        return path
    dataset = select(name)
    where = f"{_some(dataset.files)} into a folder named in HELICON_DATA"
    if all(file.url for file in dataset.files):
        todo = f"run `helicon data fetch {dataset.name}`, or put {where}"
    else:
        todo = f"not all of it has a public address: get it from {dataset.home} and put {where}"
    raise InputError(f"the data set {dataset.name!r} is not on this machine; {todo}")


def splits(name: str) -> dict[str, Path]:
    """Return the files of a task by their part of the data: `train`, `validation`, `test`.

    `gue-mouse/2` has all three (`dev` is validation); other tasks may lack some.

    Raises:
        InputError: as `find`; or the name means no folder with files of that kind.
    """
    folder = find(name)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    parts = {_SPLIT_FILES.get(file.name.partition(".")[0], ""): file for file in files}
    parts.pop("", None)
    if not parts:
        tasks = sorted({str(Path(f.path).parent) for f in select(name).files} - {name})
        raise InputError(
            f"the data set {name!r} has no train, dev or test file; name one of its tasks or files"
            + (f", such as {tasks[0]}" if tasks else "")
        )
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Fetch what is missing of a data set from its public home into the cache.

    A file is written aside, checked against its checksum, then renamed: it is whole or absent. A
    file whose name ends in `.gz` is compressed if its home has it uncompressed.

    Args:
        name: the data set, or a part of one.
        progress: called as the bytes come.

    Returns:
        The folder (or file) of the data set.

    Raises:
        InputError: there is no data set of that name, a file has no public address, or its home
            cannot be reached; says what to put where by hand.
        WorkError: a transfer broke off, the file is not the one that was published, or the disk is
            full.
    """
    if (path := locate(name)) is not None:
        return path
    dataset = select(name)
    root = cache_folder() / "data"
    missing = [file for file in dataset.files if not (root / file.path).is_file()]
    for file in missing:
        if file.url is not None:
            _fetch_file(file, root, progress)
    if without := [file for file in missing if file.url is None]:
        raise InputError(
            f"{_some(without)}: no public address is known; get it from {dataset.home} by hand and "
            f"put it below {root} or a folder named in HELICON_DATA"
        )
    return root / dataset.name


def verify(name: str) -> dict[str, State]:
    """Compare the files of a data set with their published checksums.

    Returns:
        For each file `ok`, `changed` (or damaged), `missing`, or `no checksum`.

    Raises:
        InputError: there is no data set of that name.
    """
    return {file.path: _state(file) for file in select(name).files}


def _state(file: DataFile) -> State:
    found = [root / file.path for root in _roots() if (root / file.path).is_file()]
    if not found:
        return "missing"
    if file.sha256 is None:
        return "no checksum"
    try:
        return "ok" if content_hash(found[0]) == file.sha256 else "changed"
    except InputError:  # cut short or damaged
        return "changed"


def content_hash(path: Path) -> str:
    """SHA-256 of a file's content: of what is inside, if it is compressed with gzip.

    Raises:
        InputError: the compressed data is cut short or damaged.
    """
    digest = hashlib.sha256()
    with open_content(path, "data file") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _roots() -> list[Path]:
    return [*data_folders(), cache_folder() / "data"]


def _some(files: tuple[DataFile, ...] | list[DataFile]) -> str:
    names = [file.path for file in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# ---------------------------------------------------------------- transfer


def _fetch_file(file: DataFile, root: Path, progress: Progress | None) -> None:
    with write_aside(root / file.path) as aside:
        _download(file, root, aside, progress)
        if file.sha256 and content_hash(aside) != file.sha256:
            raise WorkError(
                f"{file.url}: what came is not the published file (its checksum differs); nothing "
                "was kept. Try again later, or get it by hand"
            )


def _download(file: DataFile, root: Path, aside: Path, progress: Progress | None) -> None:
    """Write what stands at a file's address to `aside`."""
    by_hand = (
        f"on a machine that reaches it, fetch it and put it here as {root / file.path}, or as "
        f"{file.path} into a folder named in HELICON_DATA"
    )
    url, done = str(file.url), 0
    kept = "nothing was kept. Start again with the same command"
    with (
        transfer.answer(url, by_hand) as answer,
        aside.open("wb") as plain,
        contextlib.ExitStack() as closing,
    ):
        total = transfer.length_of(answer)
        out: BinaryIO | gzip.GzipFile = plain
        for block in transfer.blocks(url, answer, done, total, kept):
            if not done and file.path.endswith(".gz") and not block.startswith(b"\x1f\x8b"):
                # Without name and time, so that equal content gives equal files.
                packed = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)
                out = closing.enter_context(packed)
            out.write(block)
            done += len(block)
            if progress:
                progress(file.path, done, total)
