"""Files inside zip archives, named by a path that leads through the archive.

`splits.zip/splits/low_vs_high.csv` is the member `splits/low_vs_high.csv` of `splits.zip`. What
operating systems put beside the members (`__MACOSX/`, names that begin with a dot) counts as not
there.
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from helicon.errors import InputError

#: How a zip archive begins, an empty one last.
ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")

_OFFICE = "[Content_Types].xml"
_ENCRYPTED = 1  # bit of a member's flags
#: Members that a message lists.
_LISTED = 12


def member_of(path: Path) -> tuple[Path, str] | None:
    """Take a path that leads through a zip archive apart.

    Args:
        path: any path.

    Returns:
        The archive, and the member's name in it; `None` where no file stands on the way.
    """
    for folder in path.parents:
        if folder.is_file():
            return (folder, path.relative_to(folder).as_posix()) if is_zip(folder) else None
    return None


def is_zip(path: Path) -> bool:
    """Whether a file begins like a zip archive."""
    with path.open("rb") as handle:
        return handle.read(4).startswith(ZIP_MARKS)


def through(path: Path, what: str) -> Path:
    """The path of the only member, where `path` is a zip archive; else `path` as it is.

    Raises:
        InputError: as `only_member`.
    """
    return only_member(path, what) if path.is_file() and is_zip(path) else path


def only_member(archive: Path, what: str) -> Path:
    """The path of an archive's only member.

    Args:
        archive: a zip archive.
        what: what the user meant it to be ("FASTA file"), for the messages.

    Raises:
        InputError: it holds none or several, which are listed, or is damaged.
    """
    with _opened(archive) as content:
        names = _members(archive, content, what)
    if len(names) > 1:
        raise InputError(
            f"{archive}: is a zip archive of {len(names)} files; name one, as in "
            f"{archive / min(names)}; it holds {_listed(names)}"
        )
    return archive / next(iter(names))


@contextlib.contextmanager
def open_member(archive: Path, member: str, what: str) -> Iterator[IO[bytes]]:
    """Open a file inside a zip archive for reading; it can be sought in.

    Args:
        archive: a zip archive.
        member: name of the file in it.
        what: what the user meant it to be, for the messages.

    Raises:
        InputError: there is no such member, it is empty or encrypted, or, also while the block
            reads on, the archive is damaged.
    """
    with _opened(archive) as content:
        names = _members(archive, content, what)
        if member not in names:
            raise InputError(
                f"{archive / member}: the zip archive holds no such file; it holds {_listed(names)}"
            )
        info = names[member]
        if info.flag_bits & _ENCRYPTED:
            raise InputError(f"{archive / member}: is encrypted; unpack it with its password first")
        if not info.file_size:
            raise InputError(f"{archive / member}: the {what} is empty; fetch or write it again")
        with content.open(info) as handle:
            yield handle


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as content:
            yield content
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(
            f"{archive}: is a zip archive that is damaged or cut short ({error}); fetch it again"
        ) from error
    except NotImplementedError as error:
        raise InputError(
            f"{archive}: is packed in a way that cannot be read here ({error}); unpack it first"
        ) from error


def _members(archive: Path, content: zipfile.ZipFile, what: str) -> dict[str, zipfile.ZipInfo]:
    """Files of an archive by name, without folders and what operating systems add."""
    names = {info.filename: info for info in content.infolist() if not info.is_dir()}
    if _OFFICE in names:
        raise InputError(f"{archive}: is an Office document; save it as text (CSV) first")
    kept = {name: info for name, info in names.items() if not _is_junk(name)}
    if not kept:
        raise InputError(f"{archive}: the zip archive holds no {what}; fetch it again")
    return kept


def _is_junk(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _listed(names: dict[str, zipfile.ZipInfo]) -> str:
    some = sorted(names)[:_LISTED]
    more = len(names) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")
