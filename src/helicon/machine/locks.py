"""A file that one process at a time holds, on every system, without touching what is in it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from helicon.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Seconds between two tries, where a system cannot wait for a lock itself.
_PAUSE = 0.1


class HeldError(Exception):
    """Another process holds the file."""


@contextlib.contextmanager
def alone(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file while the block runs; the system lets go however the process ends.

    The file is made if it is not there. It is neither emptied nor followed where it is a link.

    Args:
        path: the file, in a folder that is there.
        wait: until another process lets go.

    Yields:
        Whether the file is held; not where its file system cannot lock.

    Raises:
        HeldError: another process holds it.
        InputError: a link, a folder or a pipe stands there.
        OSError: the file cannot be made.
    """
    while True:
        handle = _opened(path)
        try:
            held = _locked(handle, wait)
            # The one who held it before may have removed the file with its folder.
            if not held or _is_there(path, handle):
                yield held
                return
        finally:
            os.close(handle)


def _opened(path: Path) -> int:
    """The file, open for reading and writing."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(f"{path}: is no plain file; remove it")
    safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | safe, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path}: is no plain file; remove it")
    return handle


def _is_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return False


def _locked(handle: int, wait: bool) -> bool:
    if sys.platform == "win32":
        return _locked_on_windows(handle, wait)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise HeldError from error
    except OSError:
        return False
    return True


def _locked_on_windows(handle: int, wait: bool) -> bool:
    while sys.platform == "win32":
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            return True
        except OSError as error:
            if not wait:
                raise HeldError from error
        time.sleep(_PAUSE)
    return False
