"""Folders of memory-mapped files in the cache, made once for each content of an input file.

The index of a folder is written last. A folder without it, or whose files have other sizes than it
says, counts as not there and is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helicon.errors import InputError
from helicon.files import write_aside

_INDEX = "index.json"

Index = dict[str, Any]


def made_once(folder: Path, files: Sequence[str], make: Callable[[], Index]) -> Index:
    """Return the index of a folder, making its files first if they are not there.

    Args:
        folder: the folder.
        files: names of the files that `make` writes.
        make: writes every file, whole or not at all (`write_aside`), and returns the index.

    Raises:
        InputError: the folder cannot be written; or as `make`.
    """
    index = _read_index(folder, files)
    if index is None:
        with alone(folder):
            index = _read_index(folder, files)
            if index is None:
                index = make()
                index["sizes"] = _sizes(folder, files)
                with write_aside(folder / _INDEX) as path:
                    path.write_text(json.dumps(index))
    return index


def mapped(path: Path, dtype: Any) -> NDArray[Any]:
    """Map a file read-only; numpy cannot map an empty one."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def let_go(array: NDArray[Any]) -> None:
    """Give back the memory of what was read of a mapped array; it can be read again.

    Pages of a mapped file count as memory of the process until they are given back.
    """
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _read_index(folder: Path, files: Sequence[str]) -> Index | None:
    """The index, or `None` where a file is missing or cut: caches get purged."""
    try:
        index = json.loads((folder / _INDEX).read_text())
        return index if _sizes(folder, files) == index.get("sizes") else None
    except OSError:
        return None


def _sizes(folder: Path, files: Sequence[str]) -> list[int]:
    return [(folder / name).stat().st_size for name in files]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder, and clear what a killed one left.

    Where the file system cannot lock, processes work side by side: every file is renamed into place
    whole and has the same bytes whoever wrote it, and the index comes last.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"{folder}: the cache cannot be written ({error.strerror}); "
            "set HELICON_CACHE to a folder that can"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            yield
            return
        for left in folder.glob(".*.tmp"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
