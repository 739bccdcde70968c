"""Folders of memory-mapped files in the cache, made once for each content of an input file.

The index of a folder is written last, and says the size and the time of writing of every file. A
folder without a whole index, or with a file that was changed since, is made again.
"""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helicon.errors import InputError
from helicon.files import clear_leftovers, owned, write_aside
from helicon.machine import locks

_INDEX = "index.json"

Index = dict[str, Any]


def made_once(folder: Path, files: Sequence[str], make: Callable[[], Index]) -> Index:
    """Return the index of a folder, making its files first if they are not there.

    Args:
        folder: the folder.
        files: names of the files that `make` writes.
        make: writes every file, whole or not at all (`write_aside`), and returns the index.

    Raises:
        InputError: the folder cannot be written, or others may write it; or as `make`.
    """
    owned(folder)
    index = _read_index(folder, files)
    if index is None:
        with alone(folder):
            index = _read_index(folder, files)
            if index is None:
                index = make()
                index["files"] = _stamps(folder, files)
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
    """The index, or `None` where it is damaged, or a file missing or changed: caches get purged."""
    try:
        index = json.loads((folder / _INDEX).read_text())
        return index if _stamps(folder, files) == index["files"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _stamps(folder: Path, files: Sequence[str]) -> list[list[int]]:
    """Size and time of writing of every file."""
    return [[found.st_size, found.st_mtime_ns] for found in ((folder / f).stat() for f in files)]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a folder, and clear what a killed one left.

    Where the file system cannot lock, processes work side by side: every file is renamed into place
    whole and has the same bytes whoever wrote it, and the index comes last.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(locks.alone(folder / ".lock", wait=True))
        except OSError as error:
            raise InputError(
                f"{folder}: the cache cannot be written ({error.strerror}); "
                "set HELICON_CACHE to a folder that can"
            ) from error
        if held:
            clear_leftovers(folder)
        yield
