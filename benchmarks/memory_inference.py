"""Peak memory of the verbs on 10 and on 100 megabases: it must not grow with the input.

    python benchmarks/memory_inference.py

Each case is a fresh process with a tiny network, so that what is measured is the engine's memory
and not the network's. The input is random bases: one chromosome, or sequences of 1,000 letters.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import conditions, said, table, write

from helicon.inference.embed import embed
from helicon.inference.predict import predict
from helicon.inference.tracks.track import track
from helicon.machine.provenance import peak_memory_mb
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, save, with_head

SEED = 1
CONFIG = ConvNovaConfig(d_model=8, blocks=2, kernel=5, feed_forward=False, gate="none")
#: Largest allowed difference of the two sizes.
LIMIT = 0.10
#: Letters that are written at a time.
BLOCK = 1_000_000

Work = Callable[[Path, Path], object]


def write_chromosome(path: Path, letters: int) -> None:
    """One record."""
    rng = np.random.default_rng(SEED)
    with path.open("wb") as handle:
        handle.write(b">chr1\n")
        for at in range(0, letters, BLOCK):
            handle.write(_letters(rng, min(BLOCK, letters - at)) + b"\n")


def write_sequences(path: Path, letters: int) -> None:
    """Many records of 1,000 letters."""
    rng = np.random.default_rng(SEED)
    with path.open("wb") as handle:
        for number in range(letters // 1000):
            handle.write(b">%d\n" % number + _letters(rng, 1000) + b"\n")


def _letters(rng: np.random.Generator, count: int) -> bytes:
    return np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, count)].tobytes()


def write_models(folder: Path) -> None:
    """A language model and one of positions, of few operations."""
    torch.manual_seed(SEED)
    language = HeliconForMaskedLM(HeliconConfig.of(CONFIG))
    save(language, folder / "language")
    save(with_head(language, "token", "single_label", ("no", "yes"))[0], folder / "token")


def _embed(models: Path, folder: Path, kind: str, **options: Any) -> object:
    model, data = str(models / "language"), folder / f"{kind}.fa"
    return embed(model, data, out=folder / "out.parquet", **options)


def embed_sequences(models: Path, folder: Path) -> object:
    return _embed(models, folder, "sequences")


def embed_chromosome(models: Path, folder: Path) -> object:
    return _embed(models, folder, "chromosome")


def predict_positions(models: Path, folder: Path) -> object:
    return predict(str(models / "token"), folder / "chromosome.fa", out=folder / "out.parquet")


def predict_features(models: Path, folder: Path) -> object:
    model, data = str(models / "token"), folder / "chromosome.fa"
    return predict(model, data, out=folder / "out.bed", grammar="free")


def track_classes(models: Path, folder: Path) -> object:
    model, data = str(models / "token"), folder / "chromosome.fa"
    return track(model, data, out=folder / "out.bw", channel=["yes"])


CASES: dict[str, Work] = {
    "embed, sequences of 1,000": embed_sequences,
    "embed, one chromosome": embed_chromosome,
    "predict, every position": predict_positions,
    "predict, features (BED)": predict_features,
    "track, one class (bigWig)": track_classes,
}


def measured(work: Work, models: Path, folder: Path, threads: int) -> tuple[float, float]:
    """Peak memory in MiB of a fresh process that does the work, and its seconds."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (work, models, folder, threads))


def _measure(work: Work, models: Path, folder: Path, threads: int) -> tuple[float, float]:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    work(models, folder)
    return peak_memory_mb(), time.perf_counter() - start


def measure(sizes: list[int], names: list[str], threads: int) -> dict[str, Any]:
    """Every case on every size."""
    cases: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for size in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_models(folder / "models")
            write_chromosome(folder / "chromosome.fa", size)
            write_sequences(folder / "sequences.fa", size)
            for name in names:
                # Once for the packed input in the cache, which is no part of the work measured.
                peak, seconds = measured(CASES[name], folder / "models", folder, threads)
                cases[name][str(size)] = [peak, seconds]
    return {
        "conditions": conditions(SEED, torch.device("cpu")),
        "setting": {"sizes": sizes, "limit": LIMIT},
        "cases": cases,
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    small, large = map(str, result["setting"]["sizes"])
    rows = []
    for name, values in result["cases"].items():
        change = values[large][0] / values[small][0] - 1
        rows.append(
            [
                name,
                *(f"{values[size][0]:,.0f}" for size in (small, large)),
                f"{change:+.1%}",
                "yes" if change < LIMIT else "NO",
                f"{int(large) / values[large][1] / 1e6:.2f}",
            ]
        )
    head = ["", *(f"MiB at {int(size) / 1e6:g} Mb" for size in (small, large))]
    head += ["difference", f"below {LIMIT:.0%}", "Mb/s"]
    return "\n".join(
        [
            "# Peak memory of the verbs against the size of the input\n",
            said(result["conditions"]),
            table(head, rows),
            "Largest resident memory of a fresh process each, Python and its libraries included. "
            "The network is tiny (8 channels, 2 blocks); a larger one adds its weights and the "
            "activations of one batch, whatever the input.\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one")
    parser.add_argument("--quick", action="store_true", help="1 and 10 Mb: a rehearsal")
    given = parser.parse_args()
    sizes = [1_000_000, 10_000_000] if given.quick else [10_000_000, 100_000_000]
    result = measure(sizes, given.case or list(CASES), given.threads)
    write("memory-inference-quick" if given.quick else "memory-inference", result, report(result))


if __name__ == "__main__":
    main()
