"""What measures on a GPU runs on this machine too, at the size of a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_run_on_a_gpu_at_toy_size_on_a_cpu(tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", "--toy", "--device", "cpu", "--out", tmp_path]
    clean = {k: v for k, v in os.environ.items() if not k.endswith(("_REPO", "_PACKAGE"))}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu-toy.json").read_text())
    assert len(found["parity"]) == 10
    checks = found["parity"] + found["invariants"]
    assert all(check["difference"] <= check["bound"] for check in checks)
    assert not any(speed["failed"] for speed in found["speed"].values())
    assert [row["verb"] for row in found["verbs"]] == [
        "pretrain", "finetune", "track", "variants", "mutagenesis",
    ]  # fmt: skip
    assert "## From the command line" in (tmp_path / "gpu-toy.md").read_text()
