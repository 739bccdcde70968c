"""What a long job says when it is asked to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from helicon.errors import WorkError


@contextlib.contextmanager
def told_to_stop(said: str) -> Iterator[None]:
    """Turn SIGTERM into an error while the block runs, so that it cleans up and says how to go on.

    Schedulers and containers send it before they kill. It does nothing outside a process's first
    thread, which alone takes signals, and where somebody else takes SIGTERM already.

    Args:
        said: what the error says.

    Raises:
        WorkError: SIGTERM came.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise WorkError(said)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
