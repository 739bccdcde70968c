"""What self-distillation costs beside masked-lm alone, in time and in memory (the paper's Table 8).

    python benchmarks/findna_overhead.py [--model findna] [--quick]

One round times, on the same batch of real length, one after another

- `student`: a training step of the student alone on hidden bases: forward, loss, backward, AdamW;
- `teacher`: a forward pass of the teacher without gradients;
- `self-distillation`: a whole step: random numbers and both views, student, teacher, both losses,
  what is watched, backward, AdamW, teacher and centre moved;
- `views`: of this, the random numbers and both views alone.

What self-distillation costs besides its two networks is `self-distillation` over the sum of the
first two. The views of a whole step are ten positions longer than the batch: blank tokens.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from common import (
    Logits,
    Work,
    conditions,
    interleaved,
    peak_memory,
    said,
    table,
    training_step,
    why_no_bfloat16,
    write,
)
from torch import Tensor

from helicon.data.sampling.windows import random_stream
from helicon.models.hub import untrained
from helicon.objectives.augmentations.augment import draw_numbers, two_views
from helicon.objectives.masked_lm import Masking, mask_batch
from helicon.objectives.self_distillation import Distillation, SelfDistillation
from helicon.training.loop.schedule import parameter_groups

SEED = 1
#: Steps of the run that the steps here are thought to belong to; the teacher's momentum needs it.
STEPS = 10_000
CASES = ("student", "teacher", "self-distillation", "views")
#: Milliseconds and gigabytes of a batch on the paper's GPUs (Table 8).
PUBLISHED = {"student": (95.42, 4.52), "self-distillation": (95.97, 5.65)}


@dataclass(frozen=True)
class Setting:
    """What is measured where; all that a fresh process needs to repeat it."""

    model: str
    batch: int
    length: int
    precision: str
    threads: int
    device: str

    def autocast(self) -> torch.autocast:
        """The context that the precision stands for."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


class Measured:
    """The two networks with an optimiser of the student, and a batch."""

    def __init__(self, setting: Setting):
        torch.set_num_threads(setting.threads)
        torch.manual_seed(SEED)
        self.setting, self.device = setting, torch.device(setting.device)
        self.settings = Distillation()
        self.both = SelfDistillation(untrained(setting.model), self.settings).to(self.device)
        self.both.train()
        groups = parameter_groups(self.both, 0.01)
        self.optimizer = torch.optim.AdamW(groups, lr=3e-4, fused=True)
        rng = np.random.default_rng(SEED)
        bases = rng.integers(0, 4, (setting.batch, setting.length), dtype=np.uint8)
        hidden, targets, _ = mask_batch(bases, Masking(rate=self.settings.mask_rate), rng)
        self.ids, self.hidden = (torch.from_numpy(x).to(self.device) for x in (bases, hidden))
        self.targets = torch.from_numpy(targets).to(self.device)
        self.alone = Logits(self.both.student)
        self.step = 0

    def student(self) -> None:
        """A step on hidden bases alone."""
        with self.setting.autocast():
            training_step(self.alone, self.optimizer, self.hidden.long(), self.targets)

    def teacher(self) -> Tensor:
        """What the teacher makes of the batch."""
        with torch.no_grad(), self.setting.autocast():
            return self.both.teacher(input_ids=self.ids.long()).logits

    def numbers(self) -> Tensor:
        """Random numbers of both views, drawn as the training loop draws them."""
        self.step += 1
        need = sum(chain.numbers for chain in self.settings.chains)
        rng = random_stream(SEED, 0, 0, self.step)
        return draw_numbers(rng, len(self.ids), need).to(self.device)

    def views(self) -> None:
        """Both views of the batch."""
        two_views(self.settings.chains, self.ids, self.numbers())

    def distil(self) -> None:
        """A whole step, as the training loop takes it."""
        numbers = self.numbers()
        with self.setting.autocast():
            loss, _ = self.both(self.ids, numbers)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.both.follow(min(self.step, STEPS), STEPS, lambda values: values)

    def work(self, case: str) -> Work:
        """The function to time."""
        works = (self.student, self.teacher, self.distil, self.views)
        return dict(zip(CASES, works, strict=True))[case]


def build(argument: tuple[Setting, str]) -> Work:
    """For a fresh process: two calls of the work alone, since the second holds AdamW's state."""
    setting, case = argument
    measured = Measured(setting)
    if case == "student":  # alone, there is no teacher
        del measured.both.teacher
    work = measured.work(case)

    def twice() -> None:
        work()
        work()

    return twice


def memory(setting: Setting) -> dict[str, float]:
    """MiB of the two kinds of steps; each in a fresh process, on a GPU of what torch allocates."""
    cases = ("student", "self-distillation")
    if setting.device == "cpu":
        return {case: peak_memory(build, (setting, case)) for case in cases}
    found = {}
    for case in cases:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work = build((setting, case))
        work()
        found[case] = (torch.cuda.max_memory_allocated() - before) / 2**20
        del work
    return found


def ratios(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Cost of a whole step over that of its networks, and over the student's alone, by rounds."""
    whole, student, teacher = (
        np.array(seconds[case]) for case in ("self-distillation", "student", "teacher")
    )
    found = {"of student and teacher": whole / (student + teacher), "of student": whole / student}
    return {
        name: dict(zip(("low", "median", "high"), np.quantile(r, [0.25, 0.5, 0.75]), strict=True))
        for name, r in found.items()
    }


def measure(setting: Setting, rounds: int, *, with_memory: bool) -> dict[str, Any]:
    """Run everything."""
    device = torch.device(setting.device)
    used = memory(setting) if with_memory else {}
    measured = Measured(setting)
    cases = {case: measured.work(case) for case in CASES}
    seconds = interleaved(cases, device, rounds=rounds, warm_up=1 if device.type == "cpu" else 5)
    return {
        "conditions": conditions(SEED, device),
        "setting": vars(setting)
        | asdict(measured.settings)
        | {"rounds": rounds, "parameters": sum(p.numel() for p in measured.alone.parameters())},
        "seconds": seconds,
        "ratios": ratios(seconds),
        "peak_memory_mb": used,
        "published": PUBLISHED,
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    where, used = result["setting"], result["peak_memory_mb"]
    rows = [
        [
            case,
            f"{statistics.median(times) * 1e3:.4g}",
            f"{used[case]:,.0f}" if case in used else "",
        ]
        for case, times in result["seconds"].items()
    ]
    both, alone = (
        f"{r['median']:.3f} (quartiles {r['low']:.3f} to {r['high']:.3f})"
        for r in result["ratios"].values()
    )
    (theirs_ms, theirs_gb), (masked_ms, masked_gb) = (
        result["published"][case] for case in ("self-distillation", "student")
    )
    memory_ratio = ""
    if used:
        ratio = used["self-distillation"] / used["student"]
        memory_ratio = f", and {ratio:.2f} times its memory"
    return "\n".join(
        [
            f"# What self-distillation costs: {where['model']}, {where['parameters']:,} values, "
            f"batch {where['batch']} x {where['length']:,}, {where['precision']}\n",
            said(result["conditions"]),
            table(["", "ms", "memory, MiB"], rows),
            f"A whole step takes {both} times a step of the student alone and a forward pass of "
            f"the teacher together (the aim is at most 1.15), {alone} times the student's alone"
            f"{memory_ratio}.\n",
            f"Medians of {where['rounds']} interleaved rounds; ratios are medians of the rounds' "
            "ratios. Memory is that of a fresh process, the networks included. The paper's Table 8 "
            f"has {theirs_ms} against {masked_ms} ms a batch, {theirs_ms / masked_ms:.2f} times, "
            "though a forward pass of the teacher must be in it, and "
            f"{theirs_gb} against {masked_gb} GB, {theirs_gb / masked_gb:.2f} times.\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="findna", help="a named size")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="findna-tiny, 3 rounds: a rehearsal")
    parser.add_argument("--name", default="findna-overhead", help="of the files in results/")
    given = parser.parse_args()
    if given.precision == "bfloat16" and (why := why_no_bfloat16(torch.device(given.device))):
        parser.error(f"bfloat16: {why}")
    torch.set_num_threads(given.threads)
    model, rounds = ("findna-tiny", 3) if given.quick else (given.model, given.rounds)
    setting = Setting(
        model, given.batch, given.length, given.precision, given.threads, given.device
    )
    result = measure(setting, rounds, with_memory=True)
    half = "-bfloat16" * (given.precision == "bfloat16")
    name = f"{given.name}-{setting.device}{half}" + ("-quick" if given.quick else "")
    write(name, result, report(result))


if __name__ == "__main__":
    main()
