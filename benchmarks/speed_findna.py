"""Training steps and inference of FinDNA's network, and what its rotation costs.

    python benchmarks/speed_findna.py [--quick]

The published code is no package and does not run as published, so Helicon's network is compared
with a plain one of our own (`plain_findna.py`): a roll for every group, then `torch.cat`. Both hold
the same weights and read the same batch; their logits are compared first. A training step is
forward, cross-entropy over masked bases, backward and an AdamW step.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
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
    table,
    training_step,
    why_no_bfloat16,
    write,
)
from plain_findna import PlainBlock, PlainFinDNA
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from helicon.models.chordmixer.network import Block, ChordMixerConfig, Rotation
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.objectives.masked_lm import Masking, mask_batch

CONFIG = ChordMixerConfig()
SEED = 1
Kind = Literal["inference", "training"]
KINDS: tuple[Kind, Kind] = ("inference", "training")


@dataclass(frozen=True)
class Setting:
    """What is measured where; all that a fresh process needs to repeat it."""

    batch: int
    length: int
    threads: int
    device: str

    def autocast(self, precision: str) -> torch.autocast:
        """The context that a precision stands for."""
        return torch.autocast(self.device, torch.bfloat16, enabled=precision == "bfloat16")


class Measured:
    """A network with its optimiser and a batch."""

    def __init__(self, case: Case, setting: Setting):
        torch.set_num_threads(setting.threads)
        self.case, self.setting = case, setting
        device = torch.device(setting.device)
        torch.manual_seed(SEED)
        ours = Logits(HeliconForMaskedLM(HeliconConfig.of(CONFIG)))
        self.net: nn.Module = ours
        if case.code == "plain":
            head = {f"head.{k}": v for k, v in ours.model.lm_head.state_dict().items()}
            self.net = PlainFinDNA(CONFIG)
            self.net.load_state_dict(ours.model.backbone.state_dict() | head)
        self.net.to(device)
        fused = case.code == "helicon" or None
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=3e-4, fused=fused)
        self.ids, self.targets = example(setting, device)

    def logits(self) -> Tensor:
        """One pass without gradients."""
        with torch.no_grad(), self.setting.autocast(self.case.precision):
            return self.net(self.ids)

    def train(self) -> None:
        """One training step."""
        with self.setting.autocast(self.case.precision):
            training_step(self.net, self.optimizer, self.ids, self.targets)

    def work(self, kind: Kind) -> Work:
        """The function to time."""
        return self.train if kind == "training" else self.logits


def example(setting: Setting, device: torch.device) -> tuple[Tensor, Tensor]:
    """Random bases with 30 % masked, as ids and targets."""
    rng = np.random.default_rng(SEED)
    bases = rng.integers(0, 4, (setting.batch, setting.length), dtype=np.uint8)
    inputs, targets, _ = mask_batch(bases, Masking(rate=0.3), rng)
    return torch.from_numpy(inputs).long().to(device), torch.from_numpy(targets).to(device)


# ---------------------------------------------------------------- the parts of a block


def block_parts(setting: Setting, precision: str, kind: Kind) -> dict[str, Work]:
    """What a block does, each part alone: forward, and backward where it is trained."""
    device = torch.device(setting.device)
    torch.manual_seed(SEED)
    block, plain = Block(CONFIG).to(device), PlainBlock(CONFIG).to(device)
    x, y, gradient = (
        torch.randn(setting.batch, setting.length, CONFIG.d_model, device=device) for _ in range(3)
    )
    if precision == "bfloat16":
        y = y.bfloat16()
    x.requires_grad_(kind == "training")
    y.requires_grad_(kind == "training")

    def made() -> Rotation:
        return Rotation.of(CONFIG, x, None)

    def timed(part: Callable[[], Tensor], *of: Tensor) -> Work:
        def work() -> None:
            with torch.set_grad_enabled(kind == "training"), setting.autocast(precision):
                out = part()
                if kind == "training":
                    torch.autograd.grad(out, of, gradient.to(out.dtype))

        return work

    with torch.set_grad_enabled(kind == "training"):
        rotation = made()
    weights = [p for name, p in block.named_parameters() if name.startswith("fc")]
    return {
        "perceptron": timed(lambda: block.perceptron(x), x, *weights),
        "addition alone": timed(lambda: x + y, x, y),
        "helicon: rotation and addition": timed(lambda: rotation.added(x, y), x, y),
        "plain: rolls, cat and addition": timed(lambda: x + plain.rotated(y), x, y),
        "index of the rotation, once a pass": made,
    }


def block_rows(seconds: dict[str, list[float]]) -> list[list[str]]:
    """Rows: milliseconds, and the share of the arithmetic."""
    whole = seconds["perceptron"]
    rows = []
    for name, times in seconds.items():
        share = statistics.median(t / w for t, w in zip(times, whole, strict=True))
        rows.append([name, f"{statistics.median(times) * 1e3:.3g}", f"{100 * share:.1f} %"])
    return rows


# ---------------------------------------------------------------- the network


def flops_a_base(setting: Setting) -> dict[Kind, float]:
    """Operations of the network, counted."""
    small = Measured(Case("plain"), Setting(1, 64, setting.threads, "cpu"))
    counts: dict[Kind, float] = {}
    for kind in KINDS:
        with FlopCounterMode(display=False) as counter:
            small.work(kind)()
        counts[kind] = counter.get_total_flops() / 64
    return counts


def precisions(device: torch.device) -> list[str]:
    """What the device computes in."""
    return ["float32"] + ["bfloat16"] * (why_no_bfloat16(device) is None)


def build(argument: tuple[Case, Setting, Kind]) -> Work:
    """For a fresh process: the work alone."""
    case, setting, kind = argument
    return Measured(case, setting).work(kind)


def bfloat16_difference(setting: Setting) -> float:
    """Largest difference of Helicon's bfloat16 logits from its float32 ones, on 2 x 128 bases."""
    small = Setting(2, 128, setting.threads, setting.device)
    exact, half = (Measured(Case("helicon", p), small).logits() for p in ("float32", "bfloat16"))
    return float((exact - half.float()).abs().max())


def measure(setting: Setting, rounds: int, *, with_memory: bool) -> dict[str, Any]:
    """Run everything."""
    device = torch.device(setting.device)
    warm_up = 1 if device.type == "cpu" else 5
    found = [Case(code, p) for p in precisions(device) for code in ("plain", "helicon")]
    memory: dict[str, dict[str, float]] = {
        kind: {
            case.name: peak_memory(build, (case, setting, kind))
            for case in found
            if with_memory and device.type == "cpu"
        }
        for kind in KINDS
    }
    measured = {case: Measured(case, setting) for case in found}
    size = 2048 if device.type == "cpu" else 8192
    return {
        "conditions": conditions(SEED, device),
        "setting": vars(setting) | {"config": vars(CONFIG), "rounds": rounds},
        "bfloat16_left_out": why_no_bfloat16(device),
        "flops": flops_a_base(setting),
        "logits": logit_differences({case.name: one.logits() for case, one in measured.items()})
        | {"helicon bfloat16, small": bfloat16_difference(setting)},
        "peak_memory_mb": memory,
        "matmul_peak": {
            p: matmul_peak(getattr(torch, p), device, size) for p in precisions(device)
        },
        "seconds": {
            kind: interleaved(
                {case.name: one.work(kind) for case, one in measured.items()},
                device,
                rounds=rounds,
                warm_up=warm_up,
            )
            for kind in KINDS
        },
        "block_seconds": {
            kind: {
                p: interleaved(
                    block_parts(setting, p, kind), device, rounds=3 * rounds, warm_up=warm_up
                )
                for p in precisions(device)
            }
            for kind in KINDS
        },
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    where = result["setting"]
    lines = [
        f"# FinDNA's network, {CONFIG.d_model} channels, {CONFIG.layers} x {CONFIG.blocks} blocks, "
        f"batch {where['batch']} x {where['length']}\n",
        said(result["conditions"]),
    ]
    if result["bfloat16_left_out"]:
        lines.append(f"bfloat16 was left out: {result['bfloat16_left_out']}.\n")
    for kind in KINDS:
        lines.append(
            f"## {kind.capitalize()}\n\n" + speed_table(result, kind, result["matmul_peak"])
        )
    head = ["", "ms", "share of the perceptron"]
    for kind in KINDS:
        way = "forward" if kind == "inference" else "forward and backward"
        for precision, seconds in result["block_seconds"][kind].items():
            lines.append(f"## One block, {way}, {precision}\n\n" + table(head, block_rows(seconds)))
    peaks = ", ".join(f"{v / 1e9:.0f} GFLOP/s {k}" for k, v in result["matmul_peak"].items())
    lines.append(
        "Medians of interleaved rounds; times faster is the median of the rounds' ratios, with "
        f"their quartiles. The peak is the best square matrix product in the same run ({peaks}).\n"
        "\n" + said_differences(result["logits"]) + " (the last against Helicon's float32).\n"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--quick", action="store_true", help="batch 2, 3 rounds, no memory: a rehearsal"
    )
    parser.add_argument("--name", default="findna-speed", help="of the files in results/")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    batch, rounds = (2, 3) if given.quick else (given.batch, given.rounds)
    setting = Setting(batch, given.length, given.threads, given.device)
    result = measure(setting, rounds, with_memory=not given.quick)
    name = f"{given.name}-{setting.device}" + ("-quick" if given.quick else "")
    write(name, result, report(result))


if __name__ == "__main__":
    main()
