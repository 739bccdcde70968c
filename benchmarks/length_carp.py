"""Time and memory against the length of a protein: CARP-38M beside a Transformer of its size.

    python benchmarks/length_carp.py [--quick]

One sequence a pass, from 256 to 16,384 residues, in float32; a training step up to the length that
`--longest-training` says. The Transformer (`transformer-38m`: pre-norm, rotary positions) runs on
`scaled_dot_product_attention`, which never writes the matrix of all pairs down; its time still
grows with their number. Memory is what the work adds to a fresh process.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from common import RESULTS, Work, conditions, interleaved, peak_memory, said, table, write

from helicon.files import write_aside
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.registry import SIZES

MODELS = ("carp-38m", "transformer-38m")
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384)
SEED = 1
Kind = Literal["inference", "training"]
KINDS: tuple[Kind, Kind] = ("inference", "training")


@dataclass(frozen=True)
class Case:
    """One pass of one model."""

    model: str
    length: int
    kind: Kind
    threads: int
    device: str


def build(case: Case) -> Work:
    """The work of a case, with weights of its own."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(SEED)
    network = HeliconForMaskedLM(HeliconConfig.of(SIZES[case.model])).to(case.device).eval()
    ids = torch.randint(0, 20, (1, case.length), device=case.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def infer() -> None:
        with torch.no_grad():
            network(input_ids=ids)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()

    return train if case.kind == "training" else infer


def memory(case: Case) -> float:
    """MiB that a case takes."""
    if case.device == "cpu":
        return peak_memory(build, case)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    build(case)()
    return torch.cuda.max_memory_allocated() / 2**20


def measure(cases: dict[str, Case], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of every round, and memory, of the models at one length."""
    device = torch.device(next(iter(cases.values())).device)
    peaks = {name: memory(case) for name, case in cases.items()}
    works = {name: build(case) for name, case in cases.items()}
    seconds = interleaved(works, device, rounds=rounds)
    return {name: {"seconds": seconds[name], "memory_mb": peaks[name]} for name in cases}


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = ["# Time and memory against the length of a protein\n", said(result["conditions"])]
    lines.append("![time and memory against length](length-carp.svg)\n")
    for kind in KINDS:
        rows = []
        for length, found in result[kind].items():
            row = [f"{int(length):,}"]
            for name in MODELS:
                one = found[name]
                median = statistics.median(one["seconds"])
                row += [f"{median:.3g}", f"{median / int(length) * 1e6:.0f}"]
                row.append(f"{one['memory_mb']:,.0f}")
            ratio = statistics.median(
                b / a for a, b in zip(*(found[n]["seconds"] for n in MODELS), strict=True)
            )
            rows.append([*row, f"{ratio:.2f}"])
        head = ["residues"]
        for name in MODELS:
            head += [f"{name}, s", "µs a residue", "MiB"]
        lines += [f"## {kind.capitalize()}\n", table([*head, "times slower"], rows)]
    sizes = ", ".join(f"{k} {v:,}" for k, v in result["parameters"].items())
    lines.append(f"Medians of interleaved rounds. Parameters: {sizes}.\n")
    return "\n".join(lines)


def draw(result: dict[str, Any]) -> None:
    """The figure: both measures on logarithmic axes."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, colour, mark in zip(MODELS, ("#0072B2", "#D55E00"), "os", strict=True):
        for kind, style in zip(KINDS, ("-", ":"), strict=True):
            lengths = [int(length) for length in result[kind]]
            found = [result[kind][length][name] for length in result[kind]]
            seconds = [statistics.median(one["seconds"]) for one in found]
            options = {"color": colour, "marker": mark, "linestyle": style, "markersize": 4}
            axes[0].plot(lengths, seconds, label=f"{name}, {kind}", **options)
            axes[1].plot(lengths, [one["memory_mb"] for one in found], **options)
    for axis, label in zip(axes, ("seconds", "memory, MiB"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="residues", ylabel=label)
        axis.set_xticks(LENGTHS, [f"{n:,}" for n in LENGTHS], rotation=45, fontsize=8)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    with write_aside(RESULTS / "length-carp.svg") as path:
        figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--longest", type=int, default=LENGTHS[-1])
    parser.add_argument("--longest-training", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="to 1,024, one round: a rehearsal")
    given = parser.parse_args()
    most = {"inference": given.longest, "training": given.longest_training}
    if given.quick:
        most = dict.fromkeys(KINDS, 1024)
    result: dict[str, Any] = {
        "conditions": conditions(SEED, torch.device(given.device)),
        "parameters": {},
        "inference": {},
        "training": {},
    }
    for name in MODELS:
        with torch.device("meta"):
            network = HeliconForMaskedLM(HeliconConfig.of(SIZES[name]))
        result["parameters"][name] = sum(p.numel() for p in network.parameters())
    for kind in KINDS:
        for length in LENGTHS:
            if length <= most[kind]:
                cases = {n: Case(n, length, kind, given.threads, given.device) for n in MODELS}
                rounds = 1 if given.quick else given.rounds
                result[kind][str(length)] = measure(cases, rounds)
    if given.quick:
        print(report(result))
        return
    draw(result)
    write("length-carp", result, report(result))


if __name__ == "__main__":
    main()
