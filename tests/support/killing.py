"""Jobs that are killed after some of their parts are written."""

import subprocess
import sys
from pathlib import Path

_CODE = """
import os, signal
from pathlib import Path
from helicon.inference.jobs import stretches
from helicon.inference.jobs import parts
from helicon.inference.jobs.engine import run
from helicon.inference.jobs.job import Engine

stretches.SHARD = {shard}
write, left = parts.Parts.write, {left}

def some(self, number, table):
    global left
    write(self, number, table)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

parts.Parts.write = some
{call}
"""


def kill(folder: Path, call: str, *, shard: int, left: int) -> None:
    """Run some code in a process of its own, which dies when `left` parts are written.

    Args:
        folder: where it runs.
        call: the code.
        shard: bases of a shard.
        left: parts.
    """
    code = _CODE.format(call=call, shard=shard, left=left)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
