"""Training steps and inference of CARP: the published package and Helicon.

    HELICON_CARP_PACKAGE=FOLDER python benchmarks/speed_carp.py [--quick]

Both networks hold the same weights and read the same batch; their logits are compared first. A
training step is forward, cross-entropy over masked residues, backward and an Adam step.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from common import (
    Case,
    Logits,
    Work,
    conditions,
    interleaved,
    logit_differences,
    matmul_peak,
    peak_memory,
    said,
    said_differences,
    speed_table,
    training_step,
    why_no_bfloat16,
    write,
)
from official_carp import VARIABLE, OfficialCarp, package
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from helicon.alphabet import PROTEIN
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.parts.fast_conv import plain_convolutions
from helicon.models.registry import SIZES
from helicon.objectives.masked_lm import Masking, mask_batch

SEED = 1
#: Batch of each model, in sequences of `LENGTH`.
BATCHES = {"carp-600k": 32, "carp-38m": 4}
LENGTH = 512
Kind = Literal["inference", "training"]
KINDS: tuple[Kind, Kind] = ("inference", "training")


@dataclass(frozen=True)
class Setting:
    """What is measured where; all that a fresh process needs to repeat it."""

    model: str
    batch: int
    length: int
    threads: int
    device: str


class Measured:
    """A network with its optimiser and a batch."""

    def __init__(self, case: Case, setting: Setting):
        torch.set_num_threads(setting.threads)
        self.case, self.device = case, torch.device(setting.device)
        torch.manual_seed(SEED)
        ours = Logits(HeliconForMaskedLM(HeliconConfig.of(SIZES[setting.model])))
        self.net: nn.Module = ours
        if case.code == "official":
            self.net = OfficialCarp(SIZES[setting.model])  # type: ignore[arg-type]
            self.net.load_ours(ours.model.state_dict())
        self.net.to(self.device)
        fused = case.code != "official" or None
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=fused)
        self.ids, self.targets = example(setting, self.device)

    def logits(self) -> Tensor:
        """One pass without gradients."""
        with torch.no_grad(), self._precision():
            return self.net(self.ids)

    def train(self) -> None:
        """One training step."""
        with self._precision():
            training_step(self.net, self.optimizer, self.ids, self.targets)

    def work(self, kind: Kind) -> Work:
        """The function to time."""
        return self.train if kind == "training" else self.logits

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        direct = self.case.code == "helicon-direct"
        half = self.case.precision == "bfloat16"
        with (
            plain_convolutions() if direct else contextlib.nullcontext(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=half),
        ):
            yield


def example(setting: Setting, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random residues with 15 % masked, as ids and targets."""
    rng = np.random.default_rng(SEED)
    residues = rng.integers(0, 20, (setting.batch, setting.length), dtype=np.uint8)
    inputs, targets, _ = mask_batch(residues, Masking(rate=0.15), rng, PROTEIN)
    return torch.from_numpy(inputs).long().to(device), torch.from_numpy(targets).to(device)


def flops_a_residue(setting: Setting) -> dict[Kind, float]:
    """Operations of the plain algorithm, counted."""
    small = Measured(Case("helicon-direct"), Setting(setting.model, 1, 64, setting.threads, "cpu"))
    counts: dict[Kind, float] = {}
    for kind in KINDS:
        with FlopCounterMode(display=False) as counter:
            small.work(kind)()
        counts[kind] = counter.get_total_flops() / 64
    return counts


def cases(device: torch.device) -> list[Case]:
    """What can be measured here; the first is what the others are compared with."""
    codes = ["official"] * bool(package()) + ["helicon"]
    codes += ["helicon-direct"] * (device.type == "cpu")
    found = [Case(code) for code in codes]
    if why_no_bfloat16(device) is None:
        found += [Case(code, "bfloat16") for code in codes if code != "helicon-direct"]
    return found


def build(argument: tuple[Case, Setting, Kind]) -> Work:
    """For a fresh process: the work alone."""
    case, setting, kind = argument
    return Measured(case, setting).work(kind)


def measure(setting: Setting, rounds: int, *, with_memory: bool) -> dict[str, Any]:
    """Everything about one model."""
    device = torch.device(setting.device)
    found = cases(device)
    memory: dict[str, dict[str, float]] = {
        kind: {
            case.name: peak_memory(build, (case, setting, kind))
            for case in found
            if with_memory and device.type == "cpu"
        }
        for kind in KINDS
    }
    measured = {case: Measured(case, setting) for case in found}
    warm_up = 1 if device.type == "cpu" else 5
    return {
        "setting": vars(setting) | {"rounds": rounds},
        "flops": flops_a_residue(setting),
        "logits": logit_differences({case.name: one.logits() for case, one in measured.items()}),
        "peak_memory_mb": memory,
        "seconds": {
            kind: interleaved(
                {case.name: one.work(kind) for case, one in measured.items()},
                device,
                rounds=rounds,
                warm_up=warm_up,
            )
            for kind in KINDS
        },
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = ["# CARP beside the published package\n", said(result["conditions"])]
    if not package():
        lines.append(f"{VARIABLE} is not set: the published package was not measured.\n")
    if result["bfloat16_left_out"]:
        lines.append(f"bfloat16 was left out: {result['bfloat16_left_out']}.\n")
    for name, found in result["models"].items():
        where = found["setting"]
        lines.append(f"## {name}, {where['batch']} x {where['length']} residues\n")
        for kind in KINDS:
            lines.append(
                f"{kind.capitalize()}:\n\n"
                + speed_table(found, kind, result["matmul_peak"], "residues")
            )
        lines.append(said_differences(found["logits"]) + ".\n")
    peaks = ", ".join(f"{v / 1e9:.0f} GFLOP/s {k}" for k, v in result["matmul_peak"].items())
    lines.append(
        "Medians of interleaved rounds; times faster is the median of the rounds' ratios, with "
        "their quartiles. Operations are those of the plain algorithm; the peak is the best square "
        f"matrix product in the same run ({peaks}).\n"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="3 rounds, no memory: a rehearsal")
    parser.add_argument("--name", default="carp-speed", help="of the files in results/")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    rounds = 3 if given.quick else given.rounds
    size = 2048 if device.type == "cpu" else 8192
    dtypes = {case.precision for case in cases(device)}
    result: dict[str, Any] = {
        "conditions": conditions(SEED, device),
        "bfloat16_left_out": why_no_bfloat16(device),
        "matmul_peak": {d: matmul_peak(getattr(torch, d), device, size) for d in sorted(dtypes)},
        "models": {},
    }
    for model, batch in BATCHES.items():
        setting = Setting(model, batch, LENGTH, given.threads, given.device)
        result["models"][model] = measure(setting, rounds, with_memory=not given.quick)
    name = f"{given.name}-{device.type}" + ("-quick" if given.quick else "")
    write(name, result, report(result))


if __name__ == "__main__":
    main()
