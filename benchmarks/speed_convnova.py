"""Training steps and inference of ConvNova: the published code, a plain one, and Helicon's.

    HELICON_CONVNOVA_REPO=CHECKOUT python benchmarks/speed_convnova.py [--quick]

All networks hold the same weights and read the same batch; their logits are compared first. A
training step is forward, cross-entropy over masked bases, backward and an AdamW step.
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
from official_convnova import VARIABLE, OfficialConvNova, checkout, official_optimizer
from plain_convnova import PlainConvNova
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from helicon.alphabet import DNA
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.parts.fast_conv import plain_convolutions
from helicon.objectives.masked_lm import Masking, mask_batch

CONFIG = ConvNovaConfig(mask_reads_as="N")
SEED = 1
Kind = Literal["training", "inference"]


@dataclass(frozen=True)
class Case:
    """One implementation in one precision.

    Attributes:
        code: `official`, `plain`, `helicon`, or `helicon-direct` (without the fast convolution).
        precision: `float32`, or `bfloat16` (autocast).
        compiled: whether `torch.compile` is applied.
    """

    code: str
    precision: str = "float32"
    compiled: bool = False

    @property
    def name(self) -> str:
        """How the tables call it."""
        return f"{self.code} {self.precision}" + (" compiled" if self.compiled else "")


@dataclass(frozen=True)
class Setting:
    """What is measured where; all that a fresh process needs to repeat it."""

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
        ours = Logits(HeliconForMaskedLM(HeliconConfig.of(CONFIG)))
        net: nn.Module = ours
        if case.code == "plain":
            net = PlainConvNova(CONFIG)
            state = ours.model.backbone.state_dict()
            net.load_state_dict(state | {f"head.{k}": v for k, v in head(ours).items()})
        elif case.code == "official":
            net = OfficialConvNova(CONFIG)
            net.load_ours(ours.model.state_dict())
        net.to(self.device)
        if case.code.startswith("helicon"):
            self.optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
        else:
            self.optimizer = official_optimizer(net)
        self.net: Any = torch.compile(net) if case.compiled else net
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


def head(ours: Logits) -> dict[str, Tensor]:
    return ours.model.lm_head.state_dict()


def example(setting: Setting, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random bases with 15 % masked, as ids (the mask reads as N) and targets."""
    rng = np.random.default_rng(SEED)
    bases = rng.integers(0, 4, (setting.batch, setting.length), dtype=np.uint8)
    inputs, targets, _ = mask_batch(bases, Masking(rate=0.15), rng)
    inputs = np.where(inputs == DNA.mask_id, DNA.letters.index("N"), inputs)
    return torch.from_numpy(inputs).long().to(device), torch.from_numpy(targets).to(device)


def flops_a_base(setting: Setting) -> dict[Kind, float]:
    """Operations of the plain algorithm, counted."""
    small = Measured(Case("plain"), Setting(1, 64, setting.threads, "cpu"))
    counts: dict[Kind, float] = {}
    kinds: tuple[Kind, Kind] = ("inference", "training")
    for kind in kinds:
        with FlopCounterMode(display=False) as counter:
            small.work(kind)()
        counts[kind] = counter.get_total_flops() / 64
    return counts


def cases(setting: Setting) -> list[Case]:
    """What can be measured here; the first is what the others are compared with."""
    device = torch.device(setting.device)
    codes = ["official"] * bool(checkout()) + ["plain", "helicon"]
    if device.type == "cpu":
        found = [Case(code) for code in [*codes, "helicon-direct"]]
    else:
        found = [Case(code, compiled=c) for c in (False, True) for code in codes]
    if why_no_bfloat16(device) is None:
        found += [Case(case.code, "bfloat16", case.compiled) for case in found]
    return [case for case in found if case != Case("helicon-direct", "bfloat16")]


def build(argument: tuple[Case, Setting, Kind]) -> Work:
    """For a fresh process: the work alone."""
    case, setting, kind = argument
    return Measured(case, setting).work(kind)


def memory_of(case: Case, setting: Setting, kind: Kind) -> float:
    """Peak memory in MiB, of the device where it has its own."""
    if setting.device == "cpu":
        return peak_memory(build, (case, setting, kind))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    build((case, setting, kind))()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def bfloat16_difference(setting: Setting) -> float:
    """Largest difference of Helicon's bfloat16 logits from its float32 ones, on 2 x 128 bases."""
    small = Setting(2, 128, setting.threads, setting.device)
    exact, half = (Measured(Case("helicon", p), small).logits() for p in ("float32", "bfloat16"))
    return float((exact - half.float()).abs().max())


def measure(setting: Setting, rounds: int, *, with_memory: bool) -> dict[str, Any]:
    """Run everything."""
    device = torch.device(setting.device)
    torch.set_num_threads(setting.threads)
    found = cases(setting)
    memory: dict[str, dict[str, float]] = {
        kind: {case.name: memory_of(case, setting, kind) for case in found if with_memory}
        for kind in ("inference", "training")
    }
    measured = {case: Measured(case, setting) for case in found}
    result: dict[str, Any] = {
        "conditions": conditions(SEED, device),
        "setting": vars(setting) | {"config": vars(CONFIG), "rounds": rounds},
        "bfloat16_left_out": why_no_bfloat16(device),
        "flops": flops_a_base(setting),
        "logits": logit_differences({case.name: one.logits() for case, one in measured.items()})
        | {"helicon bfloat16, small": bfloat16_difference(setting)},
        "peak_memory_mb": memory,
        "matmul_peak": {},
        "seconds": {},
    }
    size = 2048 if device.type == "cpu" else 8192
    for dtype in {getattr(torch, case.precision) for case in found}:
        result["matmul_peak"][str(dtype).removeprefix("torch.")] = matmul_peak(dtype, device, size)
    for kind in ("inference", "training"):
        work = {case.name: one.work(kind) for case, one in measured.items()}
        warm_up = 1 if device.type == "cpu" else 5
        result["seconds"][kind] = interleaved(work, device, rounds=rounds, warm_up=warm_up)
    return result


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    where = result["setting"]
    lines = [
        f"# ConvNova, d {CONFIG.d_model}, kernel {CONFIG.kernel}, batch {where['batch']} x "
        f"{where['length']}\n",
        said(result["conditions"]),
    ]
    if not any(name.startswith("official") for name in result["seconds"]["training"]):
        lines.append(f"{VARIABLE} is not set: the published code was not measured.\n")
    if result["bfloat16_left_out"]:
        lines.append(f"bfloat16 was left out: {result['bfloat16_left_out']}.\n")
    for kind in ("inference", "training"):
        lines.append(f"## {kind.capitalize()}\n")
        lines.append(speed_table(result, kind, result["matmul_peak"]))
    peaks = ", ".join(f"{v / 1e9:.0f} GFLOP/s {k}" for k, v in result["matmul_peak"].items())
    lines.append(
        f"Medians of {where['rounds']} interleaved rounds; times faster is the median of the "
        "rounds' ratios, with their quartiles. Operations are those of the plain algorithm, so "
        "that one with fewer products may pass the peak, which is the best square matrix product "
        f"in the same run ({peaks}).\n\n"
        + said_differences(result["logits"])
        + " (the last against Helicon's float32).\n"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--quick", action="store_true", help="batch 4, 3 rounds, no memory: a rehearsal"
    )
    parser.add_argument("--name", default="convnova-speed", help="of the files in results/")
    given = parser.parse_args()
    batch, rounds = (4, 3) if given.quick else (given.batch, given.rounds)
    setting = Setting(batch, given.length, given.threads, given.device)
    result = measure(setting, rounds, with_memory=not given.quick)
    name = f"{given.name}-{setting.device}" + ("-quick" if given.quick else "")
    write(name, result, report(result))


if __name__ == "__main__":
    main()
