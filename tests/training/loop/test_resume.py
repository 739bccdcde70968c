"""A run killed with SIGKILL three times ends bit-identical to one left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "support" / "toy_task.py"
OPTIONS = {"steps": 120, "eval_every": 30, "checkpoint_every": 10, "log_every": 7, "accumulate": 2}


def start(folder, *, seconds):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(OPTIONS), "--resume"],
        env=clean | {"TOY_SECONDS": str(seconds), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def steps(folder):
    return sorted(p.name for p in (folder / "checkpoints").glob("step-*"))


def kill_when(process, happened):
    """Kill as soon as something has happened on the disk."""
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def rows(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timing = ("seconds", "bases_per_second")
    return [{k: v for k, v in row.items() if k not in timing} for row in found]


def test_killed_three_times(tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    quiet = start(alone, seconds=0)

    # In the middle of the first steps after a checkpoint, then with a checkpoint half written,
    # then right after one stands under its name (older ones may be half removed).
    kill_when(start(killed, seconds=0.02), lambda: len(rows_text(killed)) > 2)
    kill_when(start(killed, seconds=0.01), lambda: any(killed.glob("checkpoints/.step-*0[5-7]*")))
    reached = steps(killed)[-1]
    kill_when(start(killed, seconds=0.01), lambda: steps(killed)[-1] > reached)

    last = start(killed, seconds=0)
    assert last.wait(timeout=120) == 0, last.stderr.read()
    assert quiet.wait(timeout=120) == 0, quiet.stderr.read()
    for process in (last, quiet):
        process.stderr.close()
    assert steps(killed) == steps(alone)
    for step in steps(alone):
        for name in ("model.safetensors", "optimizer.safetensors"):
            one, two = (f / "checkpoints" / step / name for f in (alone, killed))
            assert one.read_bytes() == two.read_bytes()
    assert rows(killed) == rows(alone)
    assert not [p for p in (killed / "checkpoints").iterdir() if p.name.startswith(".")]


def rows_text(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []
