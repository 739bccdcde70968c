"""What a result says about where it came from."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("helicon", "torch", "numpy", "transformers", "lightning-fabric")


def provenance(
    *, seed: int, data: Mapping[str, str], seconds: float, accelerator: str = "auto"
) -> dict[str, Any]:
    """Describe a run that is ending: seed, data, code, machine, time and memory.

    Args:
        seed: of the run.
        data: name of each input to its SHA-256.
        seconds: how long the run took.
        accelerator: as in `LoopSettings`; `cpu` leaves the GPU out.
    """
    gpu = accelerator in ("auto", "cuda") and torch.cuda.is_available()
    return {
        "seed": seed,
        "data": dict(data),
        "commit": commit(),
        "versions": versions(),
        "machine": machine(gpu=gpu),
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if gpu else None,
    }


def versions() -> dict[str, str]:
    """Versions of Python, of Helicon, and of the libraries that determine its numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def commit() -> str | None:
    """Commit of the checkout that the code runs from, `+` behind it if files were changed.

    `None` if it runs from an installed package.
    """
    here = Path(__file__)
    if _git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    head = _git(here, "rev-parse", "HEAD")
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+" if head and changed else head


def _git(file: Path, *words: str) -> str | None:
    """What git says in the folder of a file; `None` without git, or if it fails."""
    try:
        said = subprocess.run(
            ["git", *words], cwd=file.parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() if said.returncode == 0 else None


def machine(*, gpu: bool) -> dict[str, Any]:
    """Processor, usable cores, threads and the GPU's name."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if gpu else None,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _cores() -> int:
    """Cores that this process may use, which a cluster limits."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MiB; `None` where nobody tells (Windows).

    Linux's `ru_maxrss` begins with the peak of the program that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        if peaks := [line.split()[1] for line in lines if line.startswith("VmHWM")]:
            return int(peaks[0]) / 2**10
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
