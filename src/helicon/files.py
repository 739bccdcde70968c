"""Files that are whole or absent: write aside, then rename; what is read stays what it was.

Also hashes, and the cache and data folders.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from helicon.archives import member_of, open_member, through
from helicon.errors import InputError, WorkError

#: Why the system refuses to write, in words.
_REFUSED = {
    errno.EACCES: "there is no permission",
    errno.EPERM: "there is no permission",
    errno.EROFS: "it lies on a disk that is mounted read-only",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands there",
    errno.EBUSY: "it is a mount point",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead in a circle",
}


@contextlib.contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    The block writes a file or makes a folder there. On any error the temporary is removed and what
    stood at `path` stays as it was. A folder that stands at `path` is replaced as a whole, by
    another folder alone.

    Raises:
        WorkError: the disk is full.
        InputError: the folder of `path` cannot be written to, or `path` is a folder and the block
            wrote a file.
    """
    path = Path(path)
    aside = _aside(path)
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


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def _translated(error: BaseException, path: Path) -> Exception | None:
    number = _errno(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return WorkError(
            f"{path}: the disk is full; what was there before is whole. Free some space and "
            "start again with the same command"
        )
    if number in _REFUSED and isinstance(error, OSError) and _concerns(error, path):
        return InputError(f"{path}: cannot be written ({_REFUSED[number]}); choose another folder")
    return None


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about `path`, what is written aside for it, or a folder on the way."""
    if error.filename is None:
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (path, *path.parents) or named.name.startswith(f".{path.name}.")


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
    if path.is_dir() and not path.is_symlink():
        if not aside.is_dir():
            raise InputError(f"{path}: is a folder, and stays; choose another name")
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


def clear_leftovers(folder: Path, name: str = "") -> None:
    """Remove what killed processes left in a folder of what they wrote aside.

    Nothing else may write there meanwhile.

    Args:
        folder: the folder.
        name: of the one file whose leftovers are meant; those of all files if not given.
    """
    for left in folder.glob(".*"):
        kept, _, end = left.name.rpartition(".")
        own = kept.rpartition(".")[0].removeprefix(".")
        if not own or (name and own != name):
            continue
        if end == "old" and not (folder / own).exists():
            left.rename(folder / own)  # killed between the two renamings
        elif end in ("tmp", "old"):
            _remove(left)


def check_output(
    path: str | Path, reads: Iterable[Path | None] = (), *, folder: bool = False
) -> None:
    """Refuse a place that cannot be written, or where something would be lost, before any work.

    Args:
        path: the file or folder that will be written.
        reads: files that are read for it; `None` counts as none.
        folder: whether a folder will be written, whose content somebody else looks at.

    Raises:
        InputError: a folder stands where a file will, the place is one of the files that are read,
            or it cannot be written to.
        WorkError: the disk is full.
    """
    path = Path(path)
    if path.is_dir() and not folder:
        raise InputError(f"{path}: is a folder, and stays; name a file")
    if os.path.ismount(path):
        raise InputError(f"{path}: is a mount point, which cannot be replaced; name one inside it")
    for read in reads:
        if read is not None and _same_file(path, read):
            raise InputError(f"{path}: is {read}, which is read; choose another output")
    place = next(folder for folder in path.absolute().parents if folder.exists())
    trial = place / _aside(path).name
    try:
        trial.write_bytes(bytes(4096))
        _flush(trial)
    except OSError as error:
        raise _translated(error, path) or error from error
    finally:
        _remove(trial)


def _same_file(path: Path, read: Path) -> bool:
    inside = member_of(read)
    read = read if inside is None else inside[0]
    return path.exists() and read.exists() and path.samefile(read)


@dataclass(frozen=True)
class Unchanged:
    """Files that have to stay what they are while they are read, perhaps several times.

    Attributes:
        stamps: size, time of writing, device and number of each.
    """

    stamps: dict[Path, tuple[int, ...] | None]

    @classmethod
    def of(cls, reads: Iterable[Path | None]) -> Self:
        """Look at files before they are read; `None` counts as none."""
        return cls({path: _stamp(path) for path in reads if path is not None})

    def changed(self) -> Path | None:
        """A file that is another one than before, if there is one."""
        return next((path for path, stamp in self.stamps.items() if _stamp(path) != stamp), None)


def _stamp(path: Path) -> tuple[int, ...] | None:
    inside = member_of(path)
    try:
        found = (path if inside is None else inside[0]).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino


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
    """Folder for what can be made again: `HELICON_CACHE`, or `helicon` in the user's cache.

    Raises:
        InputError: every user may write to it.
    """
    if folder := os.environ.get("HELICON_CACHE"):
        return owned(Path(folder).expanduser())
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return owned(Path(base).expanduser() / "helicon")


def owned(folder: Path) -> Path:
    """Refuse a folder of the cache that every user may write: anything could be put there.

    Raises:
        InputError: says how to mend it.
    """
    mode = folder.stat().st_mode if folder.exists() else 0
    if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise InputError(
            f"{folder}: every user may write to this folder of the cache; take that right away "
            "(chmod o-w), or set HELICON_CACHE to a folder of your own"
        )
    return folder


def data_folders() -> list[Path]:
    """Folders of `HELICON_DATA` (separated as in `PATH`), in which data sets are looked for."""
    return [Path(p).expanduser() for p in os.environ.get("HELICON_DATA", "").split(os.pathsep) if p]
