"""Every substitution at every position: Helicon's way against full passes.

    python benchmarks/speed_mutagenesis.py [--quick]

Two scores of a masked language model (ConvNova, d 128): `effect`, what each of the three
substitutions of a position does to the log-probabilities of the bases around, and `masked`, the
log-probability of each alternative while the position is hidden. The naive way runs the network on
every changed sequence: three full passes a position for `effect`, one for `masked`. It is timed on
some passes and extrapolated; Helicon's way is timed on whole pieces of the sequence, as the verb
works on them, what it prepares for each included.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from common import (
    Work,
    conditions,
    interleaved,
    matmul_peak,
    said,
    speed_up,
    table,
    why_no_bfloat16,
    write,
)
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA
from helicon.forward.network import Network
from helicon.forward.substitutions import Differences
from helicon.inference.mutagenesis.attribution import channels_first
from helicon.inference.mutagenesis.effects import BASES, Effects, Wanted
from helicon.inference.mutagenesis.mutagenesis import ALTERNATIVES, PIECE
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.parts.fast_conv import plain_convolutions
from helicon.models.parts.substitutions import Where

CONFIG = ConvNovaConfig()
SEED = 1
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Changed sequences of one naive batch: more letters at once are no faster on a CPU.
LETTERS = 16384


@dataclass(frozen=True)
class Setting:
    """What is measured where.

    Attributes:
        lengths: of the sequences.
        positions: of a piece, at most.
        rounds: interleaved repeats.
        threads: of a CPU.
        device: `cpu` or `cuda`.
        with_tangermeme: whether its mutagenesis is timed too, on the short sequence.
    """

    lengths: tuple[int, ...]
    positions: int
    rounds: int
    threads: int
    device: str
    with_tangermeme: bool


def model() -> HeliconForMaskedLM:
    """A network before training: time does not depend on the weights."""
    torch.manual_seed(SEED)
    return HeliconForMaskedLM(HeliconConfig.of(CONFIG))


class Sequence:
    """A random sequence, and both ways to score its substitutions."""

    def __init__(self, network: Network, length: int, positions: int):
        self.network, self.length = network, length
        self.ids = np.random.default_rng(SEED).integers(0, 4, length).astype(np.uint8)
        assert network.halo is not None
        size = min(positions, PIECE, length)
        start = 0 if size == length else (length - size) // 2
        first = max(0, start - 2 * network.halo)
        self.window = self.ids[first : start + size + 2 * network.halo]
        here = np.arange(start, start + size) - first
        self.at, self.new = np.repeat(here, 3), ALTERNATIVES[self.window[here]].reshape(-1)
        self.share = size / length
        self.first = first
        self.differences = Differences(network)
        self.tokens = network.tokens(self.ids)
        self.passes = max(1, LETTERS // length)

    def exact(self, score: str) -> NDArray[np.float32]:
        """One piece, in Helicon's way."""
        return Effects(self.network, Wanted((score,)), self.differences).of(
            self.window, self.at, self.new
        )

    def naive(self, score: str) -> Tensor:
        """Some full passes, and the score of each."""
        rows = np.linspace(0, len(self.at) - 1, self.passes).astype(int)
        return self.full(score, rows)

    def full(self, score: str, rows: NDArray[np.integer]) -> Tensor:
        """Measures of substitutions from passes over the whole changed sequences."""
        at = torch.from_numpy(self.at[rows] + self.first).to(self.tokens.device)
        new = torch.from_numpy(self.new[rows].astype(np.int64)).to(self.tokens.device)
        batch = self.tokens.repeat(len(rows), 1)
        index = torch.arange(len(rows), device=at.device)
        batch[index, at] = DNA.mask_id if score == "masked" else new
        logits = self.network.head(self.network.features(batch))[..., :BASES]
        old = self.tokens[at]
        if score == "masked":
            own = logits[index, at]
            return own[index, new] - own[index, old]
        log_p = logits.log_softmax(-1).gather(-1, self.tokens.expand_as(batch)[..., None])[..., 0]
        log_p[index, at] = 0
        return log_p.sum(1)

    def difference(self, score: str, sample: int) -> dict[str, float]:
        """Largest differences of features from those of full passes, and of both from float64."""
        rows = np.linspace(0, len(self.at) - 1, sample).astype(int)
        at = torch.from_numpy(self.at[rows]).to(self.tokens.device)
        new = torch.from_numpy(self.new[rows].astype(np.int64)).to(self.tokens.device)
        new = torch.full_like(new, DNA.mask_id) if score == "masked" else new
        where: Where = "substituted" if score == "masked" else "affected"
        reference = self.differences.reference(self.window)
        double = copy.deepcopy(self.network.model.backbone).double()
        worst = dict.fromkeys(("from_full_pass", "from_float64", "full_pass_from_float64"), 0.0)
        scale = 0.0
        for part, changed in self.differences.of(reference, at, new, where):
            for row, place in enumerate(range(part.start, part.stop)):
                inside = changed.valid[row]
                here = changed.places[row][inside] + self.first
                whole = self.tokens.clone()
                whole[at[place] + self.first] = new[place]
                with torch.no_grad():
                    true = double(whole[None])[0][here]
                full = self.network.features(whole[None])[0][here]
                ours = changed.features[row][inside]
                pairs = ((ours, full), (ours, true), (full, true))
                for name, (x, y) in zip(worst, pairs, strict=True):
                    worst[name] = max(worst[name], float((x - y).abs().max()))
                scale = max(scale, float(true.abs().max()))
        return worst | {"scale": scale}


def tangermeme(sequence: Sequence) -> dict[str, Any] | None:
    """Seconds of tangermeme's mutagenesis of the whole sequence, all that it prepares included.

    It too leaves out what cannot change, and gives the mean log-probability of the bases.
    """
    try:
        from tangermeme.saturation_mutagenesis import saturation_mutagenesis
    except ImportError:
        return None
    device = sequence.network.device
    module = channels_first(sequence.network)
    letters = torch.eye(BASES)[torch.from_numpy(sequence.ids.astype(np.int64))].T[None]
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        saturation_mutagenesis(
            module, letters.contiguous(), raw_outputs=True, device=device, fast=True
        )
    seconds = time.perf_counter() - start
    return {
        "version": version("tangermeme"),
        "seconds": seconds,
        "said": [str(w.message) for w in said],
    }


@contextlib.contextmanager
def plainly(plain: bool) -> Iterator[None]:
    with plain_convolutions() if plain else contextlib.nullcontext():
        yield


def works(sequence: Sequence, score: str, *, cpu: bool) -> dict[str, Work]:
    """What is timed: the ways by their names."""

    def naive(plain: bool) -> Work:
        def work() -> None:
            with plainly(plain):
                sequence.naive(score).cpu()

        return work

    found: dict[str, Work] = {"helicon": lambda: sequence.exact(score), "naive": naive(False)}
    return found | ({"naive, plain convolutions": naive(True)} if cpu else {})


def measure(setting: Setting) -> dict[str, Any]:
    """Run everything."""
    device = torch.device(setting.device)
    torch.set_num_threads(setting.threads)
    without = why_no_bfloat16(device)
    result: dict[str, Any] = {
        "conditions": conditions(SEED, device),
        "setting": vars(setting) | {"config": vars(CONFIG)},
        "bfloat16_left_out": without,
        "matmul_peak": matmul_peak(
            torch.float32, device, 2048 if setting.device == "cpu" else 8192
        ),
        "cases": [],
        "tangermeme": None,
    }
    for precision in PRECISIONS:
        if precision == "bfloat16" and without is not None:
            continue
        network = Network(model(), device, precision)
        for length in setting.lengths:
            sequence = Sequence(network, length, setting.positions)
            for score in ("effect", "masked"):
                result["cases"].append(case(sequence, score, precision, setting))
            if precision == "float32" and setting.with_tangermeme and length < 10_000:
                result["tangermeme"] = tangermeme(sequence)
    return result


def case(sequence: Sequence, score: str, precision: str, setting: Setting) -> dict[str, Any]:
    """Time one score of one sequence; seconds for all its positions."""
    cpu = setting.device == "cpu"
    seconds = interleaved(
        works(sequence, score, cpu=cpu and precision == "float32"),
        sequence.network.device,
        rounds=setting.rounds,
    )
    passes = sequence.length * (1 if score == "masked" else 3)
    factors = dict.fromkeys(seconds, passes / sequence.passes)
    factors["helicon"] = 1 / sequence.share
    whole = {name: [one * factors[name] for one in times] for name, times in seconds.items()}
    return {
        "length": sequence.length,
        "score": score,
        "precision": precision,
        "timed": {
            "positions": len(sequence.at) // 3,
            "naive_passes": sequence.passes,
            "naive_passes_in_all": passes,
        },
        "measured_seconds": seconds,
        "seconds": whole,
        "times_faster": {name: speed_up(times, whole["helicon"]) for name, times in whole.items()},
        "features_differ_by": sequence.difference(score, 24 if sequence.length < 10_000 else 4),
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows = [
        [
            f"{one['score']}, {one['length']:,} bp, {one['precision']}: {name}",
            f"{statistics.median(times):,.1f}" + ("" if name == "helicon" else " (extrapolated)"),
            f"{statistics.median(times) / one['length'] * 1e3:.3g}",
            ""
            if name == "helicon"
            else f"{one['times_faster'][name]['median']:,.1f} "
            f"({one['times_faster'][name]['low']:,.1f}-{one['times_faster'][name]['high']:,.1f})",
            f"{one['features_differ_by']['from_full_pass']:.1e}" if name == "helicon" else "",
        ]
        for one in result["cases"]
        for name, times in one["seconds"].items()
    ]
    head = ["", "s, all positions", "ms a position", "Helicon is so many times faster", "differs"]
    lines = [f"# Mutagenesis, ConvNova d {CONFIG.d_model}\n", said(result["conditions"])]
    if result["bfloat16_left_out"]:
        lines.append(f"bfloat16 was left out: {result['bfloat16_left_out']}.\n")
    lines.append(table(head, rows))
    scale = max(one["features_differ_by"]["scale"] for one in result["cases"])

    def worst(name: str) -> str:
        return f"{max(one['features_differ_by'][name] for one in result['cases']):.1e}"

    timed = ", ".join(
        f"{one['timed']['naive_passes']} of {one['timed']['naive_passes_in_all']:,}"
        for one in result["cases"]
    )
    lines.append(
        f"Medians of {result['setting']['rounds']} interleaved rounds; ratios are those of the "
        "rounds, with their quartiles. The naive way is a full pass for each changed sequence, "
        f"timed on some ({timed}) and extrapolated. Helicon's way is timed on one piece of at most "
        f"{min(PIECE, result['setting']['positions']):,} positions, its preparation included, and "
        "scaled to the length. Differs: the largest difference of a feature from that of a full "
        f"pass in the same precision (features reach {scale:.1f}); from a pass in float64 these "
        f"differ by {worst('from_float64')}, and full passes by {worst('full_pass_from_float64')}. "
        "Best square matrix product: "
        f"{result['matmul_peak'] / 1e9:.0f} GFLOP/s in float32.\n"
    )
    if theirs := result["tangermeme"]:
        lines.append(
            f"tangermeme {theirs['version']}, `saturation_mutagenesis(fast=True)` of the short "
            f"sequence through our adapter, once, whole: {theirs['seconds']:.1f} s"
            + "".join(f"; it said: {one}" for one in theirs["said"])
            + ".\n"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2114, 32768])
    parser.add_argument("--positions", type=int, default=PIECE, help="of a piece, at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="2,114 bp, 192 positions: a rehearsal")
    given = parser.parse_args()
    lengths, positions, rounds = tuple(given.lengths), given.positions, given.rounds
    if given.quick:
        lengths, positions, rounds = (2114,), 192, 3
    setting = Setting(
        lengths, positions, rounds, given.threads, given.device, with_tangermeme=not given.quick
    )
    result = measure(setting)
    write(f"mutagenesis-{given.device}" + ("-quick" if given.quick else ""), result, report(result))


if __name__ == "__main__":
    main()
