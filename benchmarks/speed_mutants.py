"""Masked marginals of a whole protein: Helicon's way against a pass for every hidden residue.

    [HELICON_CARP_PACKAGE=FOLDER] python benchmarks/speed_mutants.py [--quick]

Every residue is hidden in turn, and the log-probabilities of all letters in its place are wanted.
The obvious way is a loop with one forward pass a residue: with the published package, if its folder
is named (see `official_carp.py`), and with Helicon's network; `batched` gives Helicon's network
some hidden copies at once. These are timed on some residues and extrapolated. Helicon's way is
timed on the whole protein, the pass over the unchanged sequence included.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import Logits, Work, conditions, interleaved, matmul_peak, said, speed_up, table, write
from official_carp import VARIABLE, OfficialCarp, package
from torch import Tensor, nn

from helicon.alphabet import PROTEIN
from helicon.forward.network import Network
from helicon.inference.mutants.scores import masked_log_p
from helicon.models.bytenet.substitutions import Cone
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.registry import SIZES

SEED = 1
#: Letters of passes that are made together.
LETTERS = 8192


@dataclass(frozen=True)
class Setting:
    """What is measured where.

    Attributes:
        models: named sizes.
        lengths: residues of the proteins.
        passes: residues that the other ways are timed on.
        rounds: interleaved repeats.
        threads: of a CPU.
        device: `cpu` or `cuda`.
    """

    models: tuple[str, ...]
    lengths: tuple[int, ...]
    passes: int
    rounds: int
    threads: int
    device: str


class Protein:
    """A random protein, and the ways to score it."""

    def __init__(self, network: Network, length: int, passes: int):
        rng = np.random.default_rng(SEED)
        self.network, self.length = network, length
        self.ids = rng.integers(0, 20, length).astype(np.uint8)
        self.every = np.arange(length)
        self.some = np.unique(np.linspace(0, length - 1, passes).astype(np.int64))

    def helicon(self) -> np.ndarray:
        """Log-probabilities (L, V) at all positions."""
        return masked_log_p(self.network, self.ids, self.every)

    def loop(self, model: nn.Module) -> Tensor:
        """The same at some positions, a pass each; the model maps ids (1, L) to logits."""
        rows = []
        for at in self.some.tolist():
            ids = self.network.tokens(self.ids)[None].clone()
            ids[0, at] = PROTEIN.mask_id
            with torch.no_grad():
                rows.append(model(ids)[0, at].log_softmax(-1))
        return torch.stack(rows).cpu()

    def batched(self) -> Tensor:
        """The same, some passes at once."""
        with self.network.computing():
            ids = self.network.tokens(self.ids)
            some = torch.from_numpy(self.some).to(self.network.device)
            at_once = max(1, LETTERS // self.length)
            rows = []
            for at in some.split(at_once):
                row = torch.arange(len(at), device=at.device)
                batch = ids.repeat(len(at), 1)
                batch[row, at] = PROTEIN.mask_id
                rows.append(self.network.model.backbone(batch)[row, at])
        return self.network.outputs(torch.cat(rows)).cpu()


def share_computed(network: Network, length: int) -> float:
    """Of all positions behind all blocks, the mean share that Helicon's way computes."""
    config = network.model.config.backbone_config
    cone = Cone.of(tuple(config.dilations), config.kernel)
    sites = np.arange(length)[:, None]
    inside = sum(
        ((sites + offsets >= 0) & (sites + offsets < length)).sum() for offsets in cone.offsets[1:]
    )
    return float(inside / (length * length * config.blocks))


def case(name: str, network: Network, official: nn.Module | None, length: int, setting: Setting):
    """Time one model on one protein; seconds for all its residues."""
    protein = Protein(network, length, setting.passes)
    ours = Logits(network.model)
    works: dict[str, Work] = {"helicon": protein.helicon}
    if official is not None:
        works["loop, official"] = lambda: protein.loop(official)
    works |= {"loop, Helicon's network": lambda: protein.loop(ours), "batched": protein.batched}
    seconds = interleaved(works, network.device, rounds=setting.rounds)
    factor = length / len(protein.some)
    whole = {
        way: times if way == "helicon" else [one * factor for one in times]
        for way, times in seconds.items()
    }
    found = torch.from_numpy(protein.helicon()[protein.some])
    differ = {"loop, Helicon's network": protein.loop(ours)}
    if official is not None:
        differ["loop, official"] = protein.loop(official)
    return {
        "model": name,
        "length": length,
        "passes": len(protein.some),
        "share_computed": share_computed(network, length),
        "measured_seconds": seconds,
        "seconds": whole,
        "times_faster": {way: speed_up(times, whole["helicon"]) for way, times in whole.items()},
        "log_p_differ_by": {
            way: float((found - wanted).abs().max()) for way, wanted in differ.items()
        },
    }


def measure(setting: Setting) -> dict[str, Any]:
    """Run everything."""
    device = torch.device(setting.device)
    torch.set_num_threads(setting.threads)
    result: dict[str, Any] = {
        "conditions": conditions(SEED, device),
        "setting": vars(setting),
        "official": None if package() is None else "sequence-models",
        "matmul_peak": matmul_peak(
            torch.float32, device, 2048 if setting.device == "cpu" else 8192
        ),
        "cases": [],
    }
    for name in setting.models:
        torch.manual_seed(SEED)
        model = HeliconForMaskedLM(HeliconConfig.of(SIZES[name]))
        official = None
        if package() is not None:
            official = OfficialCarp(SIZES[name]).eval()
            official.load_ours(model.state_dict())
            official.to(device)
        network = Network(model, device)
        for length in setting.lengths:
            result["cases"].append(case(name, network, official, length, setting))
    return result


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows = []
    for one in result["cases"]:
        for way, times in one["seconds"].items():
            ratio = one["times_faster"][way]
            differs = one["log_p_differ_by"].get(way)
            rows.append(
                [
                    f"{one['model']}, {one['length']:,} residues: {way}",
                    f"{statistics.median(times):,.2f}"
                    + ("" if way == "helicon" else " (extrapolated)"),
                    ""
                    if way == "helicon"
                    else f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})",
                    "" if differs is None else f"{differs:.1e}",
                ]
            )
    head = ["", "s, all residues", "Helicon is so many times faster", "log p differs by"]
    shares = ", ".join(
        f"{100 * share:.0f} % at {length:,}"
        for length, share in {c["length"]: c["share_computed"] for c in result["cases"]}.items()
    )
    lines = [
        "# Masked marginals of a whole protein, float32\n",
        said(result["conditions"]),
        table(head, rows),
        f"Medians of {result['setting']['rounds']} interleaved rounds; ratios are those of the "
        "rounds, with their quartiles. The loops make one pass a hidden residue, timed on "
        f"{result['setting']['passes']} residues and extrapolated; `batched` is Helicon's network "
        "on some hidden copies at once. Helicon's way computes, of the positions of all passes "
        f"behind all blocks, {shares} residues. Best square matrix product: "
        f"{result['matmul_peak'] / 1e9:.0f} GFLOP/s.\n",
    ]
    if result["official"] is None:
        lines.append(f"The published package was left out: {VARIABLE} is not set.\n")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["carp-600k", "carp-38m"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[300, 1000])
    parser.add_argument(
        "--passes", type=int, default=16, help="residues that the loops are timed on"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="carp-600k, 300 residues: a rehearsal")
    given = parser.parse_args()
    models, lengths, rounds = tuple(given.models), tuple(given.lengths), given.rounds
    if given.quick:
        models, lengths, rounds = ("carp-600k",), (300,), 3
    setting = Setting(models, lengths, given.passes, rounds, given.threads, given.device)
    result = measure(setting)
    write(f"mutants-{given.device}" + ("-quick" if given.quick else ""), result, report(result))


if __name__ == "__main__":
    main()
