"""Windows a second with masking: the published data set and Helicon's; and against the step time.

    HELICON_CONVNOVA_REPO=CHECKOUT HELICON_CONVNOVA_PYTHON=PYTHON python benchmarks/loading.py

`HELICON_CONVNOVA_PYTHON` is a Python with torch and what the published loader wants (see README).
Both read windows of 1,024 bases in batches of 32 from the embedded genome, in one process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import conditions, said, speed_up, table, write
from official_convnova import VARIABLE, checkout
from speed_convnova import Case, Measured, Setting

from helicon.data.catalogue.example import example_genome
from helicon.data.genome.fasta import read_fasta
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import read_bed
from helicon.data.sampling.windows import WindowSampler
from helicon.objectives.masked_lm import Masking, mask_batch

PYTHON = "HELICON_CONVNOVA_PYTHON"
SEED = 1
#: Loads so many batches and gives the seconds taken.
Loader = Callable[[int], float]


def write_inputs(folder: Path, length: int) -> tuple[Path, Path]:
    """The embedded genome as a plain FASTA, and a BED of all its windows, side by side."""
    fasta, bed = folder / "genome.fa", folder / "windows.bed"
    with fasta.open("w") as bases, bed.open("w") as rows:
        for record in read_fasta(example_genome()):
            text = np.frombuffer(b"ACGTN", np.uint8)[record.ids & 0x7F].tobytes().decode()
            lines = (text[i : i + 80] for i in range(0, len(text), 80))
            bases.write(f">{record.name}\n" + "\n".join(lines) + "\n")
            for start in range(0, len(text) - length, length):
                rows.write(f"{record.name}\t{start}\t{start + length}\ttrain\n")
    return fasta, bed


@contextlib.contextmanager
def official(fasta: Path, bed: Path, length: int, batch: int) -> Iterator[Loader | None]:
    """The published loader in its own process; `None` without a checkout."""
    if (folder := checkout()) is None:
        yield None
        return
    script = Path(__file__).with_name("official_loading.py")
    words = [os.environ.get(PYTHON, sys.executable), script, folder, fasta, bed, length, batch]
    child = subprocess.Popen(
        [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None

    def load(batches: int) -> float:
        child.stdin.write(f"{batches}\n")
        child.stdin.flush()
        return float(child.stdout.readline())

    if child.stdout.readline().strip() != "ready":
        raise SystemExit(f"the published loader did not start; does {PYTHON} have its libraries?")
    try:
        yield load
    finally:
        child.stdin.close()
        child.wait()


def helicon(fasta: Path, bed: Path, length: int, batch: int, masking: Masking | None) -> Loader:
    """Helicon's loader: random strands, and random masks unless `masking` is `None`."""
    genome = Genome.open(fasta, cache=fasta.parent)
    sampler = WindowSampler(genome, read_bed(bed, genome), length, batch_size=batch, seed=SEED)
    rng = np.random.default_rng(SEED)
    step = 0

    def load(batches: int) -> float:
        nonlocal step
        start = time.perf_counter()
        for _ in range(batches):
            ids = sampler.batch(step)
            if masking is not None:
                mask_batch(ids, masking, rng)
            step += 1
        return time.perf_counter() - start

    return load


def measure(length: int, batch: int, rounds: int, official_batches: int) -> dict[str, Any]:
    """Rounds of all loaders, one after another; then training steps between two of ours."""
    ours = 50 * official_batches
    with tempfile.TemporaryDirectory() as name:
        fasta, bed = write_inputs(Path(name), length)
        with official(fasta, bed, length, batch) as published:
            loaders = {"official": (published, official_batches)} if published else {}
            for label, masking in {
                "helicon": Masking(),
                "helicon, 80-10-10": Masking(0.15, "80-10-10"),
                "helicon, no masks": None,
            }.items():
                loaders[label] = (helicon(fasta, bed, length, batch, masking), ours)
            seconds: dict[str, list[float]] = {label: [] for label in loaders}
            for number in range(1 + rounds):
                for label, (load, batches) in loaders.items():
                    taken = load(batches) / batches
                    if number:
                        seconds[label].append(taken)
    return {
        "conditions": conditions(SEED, torch.device("cpu")),
        "setting": {"length": length, "batch": batch, "rounds": rounds},
        "seconds_a_batch": seconds,
    }


def step_seconds(length: int, batch: int, steps: int) -> list[float]:
    """Seconds of float32 training steps of ConvNova d 128 on the same batch size."""
    net = Measured(Case("helicon"), Setting(batch, length, torch.get_num_threads(), "cpu"))
    times = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        net.train()
        times.append(time.perf_counter() - start)
    return times[1:]


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    seconds, where = result["seconds_a_batch"], result["setting"]
    first = next(iter(seconds))
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        ratio = speed_up(seconds[first], times)
        rows.append(
            [
                name,
                f"{where['batch'] / median:,.0f}",
                f"{ratio['median']:.0f} ({ratio['low']:.0f}-{ratio['high']:.0f})",
                f"{median * 1e3:.3g}",
                f"{100 * median / statistics.median(result['step_seconds']):.3g} %",
            ]
        )
    step = statistics.median(result["step_seconds"])
    head = ["", "windows/s", "times faster", "ms a batch", "of a training step"]
    lines = [
        f"# Loading windows of {where['length']} bases, batches of {where['batch']}\n",
        said(result["conditions"]),
        table(head, rows),
        f"One process each; medians of {where['rounds']} interleaved rounds. A training step of "
        f"ConvNova d 128 (float32, {result['conditions']['machine']['threads']} threads, the same "
        f"batch) takes {step * 1e3:,.0f} ms: loading is no bottleneck where its share is small.\n",
    ]
    if "official" not in seconds:
        lines.append(f"{VARIABLE} is not set: the published loader was not measured.\n")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 short rounds: a rehearsal")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rounds, batches = (3, 5) if given.quick else (given.rounds, 40)
    result = measure(given.length, given.batch, rounds, batches)
    result["step_seconds"] = step_seconds(given.length, given.batch, 1 if given.quick else 5)
    write("loading-quick" if given.quick else "loading", result, report(result))


if __name__ == "__main__":
    main()
