"""Files from a public address: what every transfer shares, and transfers that go on.

What goes wrong is one line: the address, the reason, and what to do by hand.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from helicon.errors import InputError, WorkError

#: Seconds without a byte after which a transfer counts as broken off.
TIMEOUT = 60

#: Called with a file's name, the bytes that have come, and the bytes to come in all, if known.
Progress = Callable[[str, int, int | None], None]

_BLOCK = 1 << 18
#: What a server answers if a file is no longer than the part of it that is here already.
_NOTHING_MORE = 416


@contextlib.contextmanager
def answer(url: str, by_hand: str, first: int = 0) -> Iterator[http.client.HTTPResponse]:
    """Ask for what stands at an address.

    Args:
        url: the address.
        by_hand: what to do without this machine's connection, for messages.
        first: ask for the bytes from this one on (from 0); a server may give all the same.

    Raises:
        InputError: the address cannot be reached, or its home refuses.
    """
    headers = {"User-Agent": "helicon"} | ({"Range": f"bytes={first}-"} if first else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(
            f"{url}: its home answers {error.code} ({error.reason}); {by_hand}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url}: cannot be reached ({reason}); {by_hand}") from error
    with response:
        yield response


def length_of(response: http.client.HTTPResponse) -> int | None:
    """Number of bytes that an answer says it has; `None` where it does not say."""
    length = response.headers["Content-Length"]
    return None if length is None else int(length)


def blocks(
    url: str, response: http.client.HTTPResponse, done: int, total: int | None, kept: str
) -> Iterator[bytes]:
    """The bytes of an answer, a block at a time.

    Args:
        url: the address.
        response: its answer.
        done: bytes that were here before.
        total: bytes that there are in all, if known.
        kept: what becomes of the bytes that came, if it breaks off, for the message.

    Raises:
        WorkError: it broke off before the end, or there was nothing.
    """
    while block := _received(url, response, done, total, kept):
        done += len(block)
        yield block
    if not done or (total is not None and done < total):
        raise _broken(url, done, total, kept)


def _received(
    url: str, response: http.client.HTTPResponse, done: int, total: int | None, kept: str
) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(url, done, total, kept) from error


def _broken(url: str, done: int, total: int | None, kept: str) -> WorkError:
    of = f" of {total:,}" if total is not None else ""
    return WorkError(f"{url}: the transfer broke off after {done:,}{of} bytes; {kept}")


def fetch_on(url: str, part: Path, by_hand: str, progress: Progress, name: str) -> None:
    """Write what stands at an address to a file, going on from what the file has already.

    Args:
        url: the address.
        part: the file; it keeps what came when the transfer breaks off.
        by_hand: as in `answer`.
        progress: called as the bytes come.
        name: the file's name, for `progress`.

    Raises:
        InputError: the address cannot be reached, or its home refuses.
        WorkError: the transfer broke off, or the disk is full.
    """
    done = part.stat().st_size if part.exists() else 0
    try:
        with answer(url, by_hand, done) as response:
            _append(url, response, part, done, progress, name)
    except InputError as error:
        cause = error.__cause__
        if not (isinstance(cause, urllib.error.HTTPError) and cause.code == _NOTHING_MORE):
            raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WorkError(
            f"{part}: the disk is full; free some space and start again with the same command"
        ) from error


def _append(
    url: str,
    response: http.client.HTTPResponse,
    part: Path,
    done: int,
    progress: Progress,
    name: str,
) -> None:
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        done = 0  # the whole file comes once more
    left = length_of(response)
    total = None if left is None else done + left
    kept = "what came is kept, and the same command goes on from there"
    with part.open("ab" if done else "wb") as out:
        for block in blocks(url, response, done, total, kept):
            out.write(block)
            done += len(block)
            progress(name, done, total)


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Give a `Progress` that shows on standard error: bars on a terminal, plain lines in a log."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Bars(*columns, TransferSpeedColumn(), console=console, disable=hidden) as bars:
        tasks = {}

        def progress(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
                if hidden:
                    print(f"fetching {file}", file=sys.stderr, flush=True)
            bars.update(tasks[file], completed=done, total=total)

        yield progress
