"""Files that are whole or absent: write aside, then rename; hashes; the cache and data folders."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from helicon.archives import member_of, open_member, through
from helicon.errors import InputError, WorkError


@contextlib.contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    The block writes a file or makes a folder there. On any error the temporary is removed and what
    stood at `path` stays as it was. A folder that stands at `path` is replaced as a whole.

    Raises:
        WorkError: the disk is full.
        InputError: the folder of `path` cannot be written to.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _flush(aside)
        _replace(aside, path)
    except BaseException as error:
        _remove(aside)
        if said := _translated(error, path):
            raise said from error
        raise


def _translated(error: BaseException, path: Path) -> Exception | None:
    number = _errno(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return WorkError(
            f"{path}: the disk is full; what was there before is whole. Free some space and "
            "start again with the same command"
        )
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
        return InputError(f"{path}: cannot be written ({error.strerror}); choose another folder")
    return None


def _errno(error: BaseException) -> int | None:
    """The operating system's error number, also from libraries that only print it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    if "No space left on device" in text or "os error 28" in text:
        return errno.ENOSPC
    return None


def _flush(path: Path) -> None:
    """Force the bytes to the disk, so that a renamed file is never an empty one after a crash."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as handle:
                os.fsync(handle.fileno())


def _replace(aside: Path, path: Path) -> None:
    if path.is_dir():
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
        path.rename(old)
        aside.rename(path)
        shutil.rmtree(old)
    else:
        aside.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; of a member of a zip archive, its own.

    Raises:
        InputError: as `helicon.archives.open_member`.
    """
    inside = member_of(Path(path))
    with Path(path).open("rb") if inside is None else open_member(*inside, "file") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()  # type: ignore[arg-type]


def existing_file(path: str | Path, what: str = "file") -> Path:
    """Return `path` if it is a file with at least one byte.

    Args:
        path: the path to check.
        what: what the user meant it to be, for the message.

    Raises:
        InputError: it is missing, a folder, empty, or not readable.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, a {what} is wanted")
    if not path.exists():
        raise InputError(f"{path}: no such {what}; check the path")
    if not path.is_file():
        raise InputError(
            f"{path}: is a pipe or a device, and a {what} is read more than once; write it to a "
            "file first"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the {what} is empty; fetch or write it again")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: the {what} cannot be read; check its permissions")
    return path


def existing_data(path: str | Path, what: str = "file") -> Path:
    """Return the path of a data file, which may lie inside a zip archive.

    Args:
        path: a file; a path that leads through a zip archive to one of its members; or a zip
            archive with one member, which is what is meant.
        what: what the user meant it to be, for the message.

    Returns:
        `path`, or the path of the archive's only member.

    Raises:
        InputError: as `existing_file`, `open_member` and `only_member` of `helicon.archives`.
    """
    path = Path(path)
    if (inside := member_of(path)) is not None:
        with open_member(*inside, what):
            return path
    return through(existing_file(path, what), what)


def cache_folder() -> Path:
    """Folder for what can be made again: `HELICON_CACHE`, or `helicon` in the user's cache."""
    if folder := os.environ.get("HELICON_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "helicon"


def data_folders() -> list[Path]:
    """Folders of `HELICON_DATA` (separated as in `PATH`), in which data sets are looked for."""
    return [Path(p).expanduser() for p in os.environ.get("HELICON_DATA", "").split(os.pathsep) if p]
