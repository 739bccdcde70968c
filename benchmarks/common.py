"""What the speed measurements share: interleaved timing, the machine's ceiling, result files."""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helicon.files import write_aside
from helicon.machine.provenance import commit, machine, peak_memory_mb, versions
from helicon.objectives.masked_lm import masked_lm_loss

RESULTS = Path(__file__).parent / "results"
Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One implementation in one precision.

    Attributes:
        code: whose it is, as the benchmark names it.
        precision: `float32`, or `bfloat16` (autocast).
    """

    code: str
    precision: str = "float32"

    @property
    def name(self) -> str:
        """How the tables call it."""
        return f"{self.code} {self.precision}"


class Logits(nn.Module):
    """A masked language model as a function from ids to logits."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, L, V) of ids (B, L)."""
        return self.model(input_ids=ids).logits


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock read next is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    cases: dict[str, Work], device: torch.device, *, rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Time the cases one after another, round by round, so that all meet the same disturbances.

    A machine that others use may lose half its speed for seconds; the ratio of two cases within a
    round is still fair.

    Returns:
        Seconds of each case in each round after the warm-up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(warm_up + rounds):
        for name, work in cases.items():
            synchronise(device)
            start = time.perf_counter()
            work()
            synchronise(device)
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {warm_up + rounds} ", end="", file=sys.stderr)
    return seconds


def speed_up(base: list[float], other: list[float]) -> dict[str, float]:
    """How many times faster `other` is: median and quartiles of the rounds' ratios."""
    ratios = sorted(a / b for a, b in zip(base, other, strict=True))
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"median": statistics.median(ratios), "low": low, "high": high}


def matmul_peak(dtype: torch.dtype, device: torch.device, size: int, repeats: int = 5) -> float:
    """FLOP/s of the best of several square matrix products: the practical ceiling."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    times = interleaved({"mm": lambda: torch.mm(a, b, out=out)}, device, rounds=repeats, warm_up=2)
    return 2 * size**3 / min(times["mm"])


def why_no_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 cannot be measured here, `None` where it can."""
    if device.type == "cuda":
        return None if torch.cuda.is_bf16_supported(including_emulation=False) else "old GPU"
    capabilities = torch.backends.cpu.get_cpu_capability(), torch.cpu.get_capabilities()
    if capabilities[1].get("amx_bf16") or capabilities[1].get("avx512_bf16"):
        return None
    return f"the CPU has no bfloat16 unit (neither AVX512-BF16 nor AMX; {capabilities[0]})"


def peak_memory(build: Callable[[Any], Work], argument: object) -> float:
    """MiB by which work raises the peak memory of a fresh process, its model and input included.

    Args:
        build: makes the work from the argument; a function at a module's top.
        argument: anything that pickles.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure_memory, (build, argument))


def _measure_memory(build: Callable[[Any], Work], argument: object) -> float:
    before = peak_memory_mb()
    work = build(argument)
    work()
    return peak_memory_mb() - before


def conditions(seed: int, device: torch.device) -> dict[str, Any]:
    """All that a measurement depends on and that its numbers do not say."""
    gpu = device.type == "cuda"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "commit": commit(),
        "seed": seed,
        "machine": machine(gpu=gpu),
        "load_average": os.getloadavg(),
        "versions": versions() | {"cuda": torch.version.cuda if gpu else None},
        "torch": {
            "capability": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "mkl": torch.backends.mkl.is_available(),
            "tf32": torch.backends.cuda.matmul.allow_tf32 if gpu else None,
            "config": torch.__config__.show().splitlines(),
        },
    }


def write(
    name: str,
    results: dict[str, Any],
    report: str,
    folder: Path | None = None,
    *,
    shown: bool = True,
) -> None:
    """Write `NAME.json` and `NAME.md` to a folder, else to `results/`, and print the latter."""
    folder = folder or RESULTS
    with write_aside(folder / f"{name}.json") as path:
        path.write_text(json.dumps(results, indent=1) + "\n")
    with write_aside(folder / f"{name}.md") as path:
        path.write_text(report)
    if shown:
        print(report)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    line = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, line, *rows]) + "\n"


def speed_table(
    found: dict[str, Any], kind: str, peaks: dict[str, float], unit: str = "bases"
) -> str:
    """The table of implementations of one network, the first being what others are compared with.

    Args:
        found: `seconds` and `peak_memory_mb` by kind and name, `setting` with batch and length,
            and `flops`: operations a letter of the plain algorithm, by kind.
        kind: `inference` or `training`.
        peaks: FLOP/s of a matrix product, by precision, which a name ends in or holds.
        unit: what a letter is.
    """
    seconds, where = found["seconds"][kind], found["setting"]
    letters = where["batch"] * where["length"]
    first = next(iter(seconds))
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        ratio = speed_up(seconds[first], times)
        rate = found["flops"][kind] * letters / median
        peak = next(value for precision, value in peaks.items() if precision in name)
        memory = found["peak_memory_mb"][kind].get(name)
        rows.append(
            [
                name,
                f"{median * 1e3:.4g}",
                f"{letters / median:,.0f}",
                f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})",
                f"{rate / 1e9:.0f}",
                f"{100 * rate / peak:.0f} %",
                "" if memory is None else f"{memory:,.0f}",
            ]
        )
    head = ["", "ms", f"{unit}/s", "times faster", "GFLOP/s", "of matmul peak", "memory, MiB"]
    return table(head, rows)


def training_step(
    net: nn.Module, optimizer: torch.optim.Optimizer, ids: Tensor, targets: Tensor
) -> None:
    """Forward, cross-entropy over masked letters, backward and a step of the optimiser.

    Backward runs in the precision that the caller set for forward.
    """
    optimizer.zero_grad(set_to_none=True)
    logits = net(ids)
    with torch.autocast(ids.device.type, enabled=False):
        loss, _, _ = masked_lm_loss(logits, targets)
    loss.backward()
    optimizer.step()


def logit_differences(measured: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of each network's logits from the first's, and the first's `scale`."""
    first = next(iter(measured.values())).float()
    found = {name: float((y.float() - first).abs().max()) for name, y in measured.items()}
    return found | {"scale": float(first.abs().max())}


def said_differences(logits: dict[str, float]) -> str:
    """The differences in a sentence."""
    listed = ", ".join(f"{k} {v:.1e}" for k, v in logits.items() if k != "scale")
    scale = f"(scale {logits['scale']:.2f})"
    return f"Largest differences of logits from the first row's {scale}: {listed}"


def said(conditions: dict[str, Any]) -> str:
    """The conditions in a few lines of Markdown."""
    on, load = conditions["machine"], conditions["load_average"]
    where = on["gpu"] or f"{on['cpu']} ({conditions['torch']['capability']})"
    return (
        f"`{conditions['command']}`, {conditions['date'][:10]}, commit "
        f"{conditions['commit'] or 'unknown'}, {where}, {on['threads']} threads, "
        f"torch {conditions['versions']['torch']}, load average {load[0]:.1f}.\n"
    )
