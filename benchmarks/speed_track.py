"""Long inputs: a million bases in exact tiles, and a track of a whole genome.

    python benchmarks/speed_track.py [--quick]

The network is ConvNova d128 with a head for three classes, with random weights: what they say takes
the same time. The million bases are the first of the embedded genome.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import conditions, interleaved, said, table, write

from helicon.alphabet import DNA
from helicon.data.catalogue.example import example_genome
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import whole_genome
from helicon.forward.network import Network
from helicon.forward.tiles import outputs_over
from helicon.inference.tracks.track import TrackJob, track
from helicon.machine.provenance import peak_memory_mb
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, save, with_head

SEED = 1
CLASSES = ("intergenic", "forward", "reverse")
SHORT = 16_384
#: Of the loop that tiles are compared with.
WINDOW = 1024


def make_model(folder: Path) -> Path:
    """A model folder with weights drawn from the seed."""
    torch.manual_seed(SEED)
    base = HeliconForMaskedLM(HeliconConfig.of(ConvNovaConfig()))
    return save(with_head(base, "token", "single_label", CLASSES)[0], folder)


def make_contig(path: Path, length: int) -> Path:
    """A FASTA file of the first bases of the embedded genome."""
    ids = Genome.open(example_genome()).fetch(0, 0, length)
    path.write_text(f">contig\n{DNA.decode(ids)}\n")
    return path


def in_tiles(network: Network, genome: Genome) -> Iterator[torch.Tensor]:
    """Log-probabilities of a whole contig, in pieces."""
    for piece in outputs_over(network, genome, whole_genome(genome)):
        yield piece.values


def memory_of_tiles(argument: tuple[Path, Path, int]) -> tuple[float, float]:
    """For a fresh process: its peak memory in MiB with the libraries, and after the work."""
    model, contig, threads = argument
    before = peak_memory_mb()
    torch.set_num_threads(threads)
    network = Network.open(model, accelerator="cpu", precision="float32")
    for _ in in_tiles(network, Genome.open(contig)):
        pass
    return before, peak_memory_mb()


def difference(network: Network, genome: Genome) -> float:
    """Largest difference of log-probabilities, in tiles and in one pass."""
    ids = genome.fetch(0, 0, genome.total)[None]
    whole = network.outputs(network.features(ids))[0]
    largest, at = 0.0, 0
    for piece in in_tiles(network, genome):
        found = (piece - whole[at : at + len(piece)]).abs().max()
        largest, at = max(largest, float(found)), at + len(piece)
    assert at == genome.total
    return largest


def measure_tiles(model: Path, folder: Path, length: int, rounds: int) -> dict[str, Any]:
    """Time, memory and exactness of one long contig."""
    contig = make_contig(folder / "contig.fa", length)
    genome = Genome.open(contig, cache=folder / "cache")
    # First, while this process is small: on Linux a new process starts from its parent's peak.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        argument = model, contig, torch.get_num_threads()
        libraries, memory = pool.apply(memory_of_tiles, (argument,))
    network = Network.open(model, accelerator="cpu", precision="float32")
    ids = genome.fetch(0, 0, SHORT)[None]
    seconds = interleaved(
        {
            "short": lambda: network.outputs(network.features(ids)),
            "long": lambda: [None for _ in in_tiles(network, genome)],
        },
        network.device,
        rounds=rounds,
    )
    ratios = [
        (b / length) / (a / SHORT) for a, b in zip(seconds["short"], seconds["long"], strict=True)
    ]
    return {
        "bases": length,
        "seconds": seconds,
        "time_a_base_ratio": statistics.median(ratios),
        "peak_memory_mb": memory,
        "libraries_memory_mb": libraries,
        "largest_difference": difference(network, genome),
    }


def measure_genome(model: Path, folder: Path, bases: int, windows: int) -> dict[str, Any]:
    """One command over the genome, and the loop over windows on a sample of it."""
    genome = Genome.open(example_genome())
    regions = folder / "regions.bed"
    regions.write_text(f"{genome.names[0]}\t0\t{bases}\n")
    writing = timed_assembly()
    whole = bases == genome.total
    result = track(
        str(model), example_genome(), out=folder / "forward.bw", channel=["forward"],
        regions=None if whole else regions, accelerator="cpu", precision="float32",
    )  # fmt: skip
    loop = loop_over_windows(model, genome, windows)
    return {
        "bases": bases,
        "seconds": result.done.seconds,
        "writing_seconds": writing[0],
        "bytes": (folder / "forward.bw").stat().st_size,
        "peak_memory_mb": result.done.peak_memory_mb,
        "loop": {"windows": windows, "seconds": loop, "all_windows": bases / WINDOW},
        "loop_seconds_extrapolated": loop / windows * bases / WINDOW,
    }


def timed_assembly() -> list[float]:
    """Have the time that jobs take to write their output noted in the list."""
    noted: list[float] = []
    assemble = TrackJob.assemble

    def timed(self: TrackJob, parts: Iterator[Any], aside: Path) -> None:
        start = time.perf_counter()
        assemble(self, parts, aside)
        noted.append(time.perf_counter() - start)

    TrackJob.assemble = timed  # type: ignore[method-assign]
    return noted


def loop_over_windows(model: Path, genome: Genome, windows: int) -> float:
    """Seconds of the obvious loop: one window after the other through the model."""
    network = Network.open(model, accelerator="cpu", precision="float32")
    starts = np.linspace(0, genome.total - WINDOW, windows + 2).astype(int).tolist()
    began = 0.0
    for number, start in enumerate(starts):
        if number == 2:  # the first two are to warm up
            began = time.perf_counter()
        ids = torch.from_numpy(genome.fetch(0, start, start + WINDOW))[None].long()
        with torch.no_grad():
            network.model(input_ids=ids).logits.softmax(-1)[0, :, 1].numpy()
    return time.perf_counter() - began


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    tiles, whole = result["tiles"], result["genome"]
    short, long = (statistics.median(tiles["seconds"][k]) for k in ("short", "long"))
    loop = whole["loop_seconds_extrapolated"]
    share = whole["writing_seconds"] / whole["seconds"]
    rate = f"{whole['bases'] / whole['seconds']:,.0f}"
    return "\n".join(
        [
            "# Long inputs: ConvNova d 128, float32, CPU\n",
            said(result["conditions"]),
            "## One long contig in exact tiles\n",
            table(
                ["", "seconds", "microseconds a base"],
                [
                    [f"one pass, {SHORT:,} bases", f"{short:.3g}", f"{short / SHORT * 1e6:.2f}"],
                    [
                        f"in tiles, {tiles['bases']:,} bases", f"{long:.3g}",
                        f"{long / tiles['bases'] * 1e6:.2f}",
                    ],
                ],
            ),
            f"Time a base: {tiles['time_a_base_ratio']:.2f} times that of the short pass (median "
            "of interleaved rounds). Peak memory of a fresh process: "
            f"{tiles['peak_memory_mb']:,.0f} MiB, of which the libraries take "
            f"{tiles['libraries_memory_mb']:,.0f}. Largest difference of log-probabilities from "
            f"one untiled pass over all {tiles['bases']:,} bases: "
            f"{tiles['largest_difference']:.1e}.\n",
            f"## A track of {whole['bases']:,} bases\n",
            table(
                ["", "seconds", "bases/s"],
                [
                    ["`helicon track`, bigWig written", f"{whole['seconds']:.1f}", rate],
                    [
                        f"the model, {WINDOW:,} bases at a time (extrapolated)", f"{loop:.1f}",
                        f"{whole['bases'] / loop:,.0f}",
                    ],
                ],
            ),
            f"{loop / whole['seconds']:.2f} times faster. Writing the bigWig "
            f"({whole['bytes'] / 1e6:.1f} MB): {whole['writing_seconds']:.2f} s, {share:.1%} of "
            f"the run. The loop was "
            f"timed on {whole['loop']['windows']} windows across the genome, without writing, and "
            "gives wrong values near the ends of its windows.\n",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: a rehearsal")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    total = Genome.open(example_genome()).total
    bases, rounds, windows = given.bases, given.rounds, given.windows
    if given.quick:
        bases, rounds, windows, total = 100_000, 1, 20, 200_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model")
        result = {
            "conditions": conditions(SEED, torch.device("cpu")),
            "tiles": measure_tiles(model, folder, bases, rounds),
            "genome": measure_genome(model, folder, total, windows),
        }
    write("track-cpu" + ("-quick" if given.quick else ""), result, report(result))


if __name__ == "__main__":
    main()
