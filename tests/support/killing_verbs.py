"""Verbs that are killed in the middle of their work, started again, and compared."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from helicon.inference.jobs import keyed, stretches
from helicon.inference.jobs.parts import Parts

#: Processes start from one that has imported what verbs need, and nothing runs in.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["helicon.inference.embed", "helicon.inference.predict"])

Verb = Callable[..., object]


def check_killed_and_started_again(
    verb: Verb, name: str, folder: Path, *, letters: int = 200, least: int = 3
) -> None:
    """Kill a verb with SIGKILL when some parts are there; run it again; compare it with one go.

    Args:
        verb: takes the keyword `out`, and pickles (a `functools.partial` of a verb).
        name: of its output.
        folder: for outputs.
        letters: of a shard.
        least: parts to wait for.
    """
    written: list[int] = []
    write = Parts.write

    def noted(self: Parts, number: int, table: object) -> None:
        written.append(number)
        write(self, number, table)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyed, "letters_each", lambda _: letters)
        patch.setattr(stretches, "SHARD", letters)
        patch.setattr(Parts, "write", noted)
        once, twice = folder / "once", folder / "twice"
        once.mkdir()
        twice.mkdir()
        verb(out=once / name)
        whole, written[:] = set(written), []
        assert len(whole) > least, "the job has too few shards to be stopped in between"
        kept = _killed(verb, twice / name, letters, least)
        assert len(kept) >= least and kept < whole
        assert not [path for path in twice.iterdir() if not path.name.endswith(".parts")]
        verb(out=twice / name)
    assert sorted(written) == sorted(whole - kept), "finished shards are not computed again"
    outputs = sorted(path.name for path in once.iterdir())
    assert sorted(path.name for path in twice.iterdir()) == outputs
    for name in outputs:
        assert (once / name).read_bytes() == (twice / name).read_bytes()


def _work_slowly(verb: Verb, out: Path, letters: int) -> None:
    """Run the verb with a pause after each part."""
    write = Parts.write

    def slow(self: Parts, number: int, table: object) -> None:
        write(self, number, table)
        time.sleep(0.2)

    torch.set_num_threads(1)
    keyed.letters_each = lambda _: letters
    stretches.SHARD = letters
    Parts.write = slow  # type: ignore[method-assign]
    verb(out=out)


def _killed(verb: Verb, out: Path, letters: int, least: int) -> set[int]:
    """Run the verb in a process that is killed when some parts are there: numbers of all parts."""
    child = _CONTEXT.Process(target=_work_slowly, args=(verb, out, letters), daemon=True)
    child.start()
    parts = out.with_name(f"{out.name}.parts")
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.arrow"))) < least:
        assert time.monotonic() < deadline and child.is_alive()
        time.sleep(0.01)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    return {int(path.stem) for path in parts.glob("*.arrow")}
