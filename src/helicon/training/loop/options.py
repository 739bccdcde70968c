"""Options that every verb that trains has: how long and how it learns, and on which machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from helicon.errors import InputError
from helicon.machine.precision import TrainingPrecision
from helicon.training.loop.schedule import Schedule, check_schedule
from helicon.training.loop.settings import LoopSettings
from helicon.training.run.options import Options, check_numbers
from helicon.training.run.recipe import check_counts, check_run_length

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Strategy = Literal["auto", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class Machine(Options):
    """Where training computes.

    Attributes:
        precision: `auto` is bfloat16 where the hardware multiplies in it, else float32.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on each machine, one a device.
        nodes: machines.
        strategy: `auto`, `ddp` or `fsdp`.
    """

    title: ClassVar[str] = "Machine"

    precision: TrainingPrecision = "auto"
    accelerator: Accelerator = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"

    def __post_init__(self) -> None:
        check_counts(self, ("devices", "nodes"))


@dataclass(frozen=True, kw_only=True)
class Training(Options):
    """How a network learns.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the training data, in place of steps.
        minutes: time to train, in place of steps. After the first seconds it becomes a number of
            steps, which the run folder records.
        accumulate: batches in an optimiser step.
        lr: highest learning rate.
        weight_decay: of matrices and kernels; biases and normalisations are not decayed.
        schedule: how the rate falls after the warm-up.
        warmup: steps of warm-up, or below 1 the share of all steps.
        floor: last learning rate over the highest.
        clip: largest norm of the gradient; 0 for no limit.
        eval_every: steps between validations.
        patience: validations without improvement after which training stops; 0 for never.
        seed: of new weights, order and dropout.
    """

    title: ClassVar[str] = "Training"

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    floor: float = 0.01
    clip: float = 1.0
    eval_every: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_run_length(self.steps, self.epochs, self.minutes)
        check_counts(self, ("steps", "accumulate", "eval_every"))
        check_numbers(self, ("lr", "minutes", "epochs"), 0, open="(")
        check_numbers(self, ("weight_decay", "warmup", "clip", "patience"), 0)
        check_numbers(self, ("floor",), 0, 1)
        check_numbers(self, ("seed",), 0, 2**63, open=")")
        check_schedule(self.schedule, self.warmup, self.floor)

    def loop(
        self,
        machine: Machine,
        *,
        steps: int | None,
        eval_every: int | None = None,
        checkpoint_every: int | None = None,
    ) -> LoopSettings:
        """Settings of the loop; `steps` is `None` for a budget in minutes."""
        return LoopSettings(
            steps=steps if self.minutes is None else None,
            minutes=self.minutes,
            lr=self.lr,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup=self.warmup,
            floor=self.floor,
            clip=self.clip or None,
            accumulate=self.accumulate,
            precision=machine.precision,
            seed=self.seed,
            eval_every=eval_every,
            checkpoint_every=checkpoint_every,
            patience=self.patience or None,
            accelerator=machine.accelerator,
            devices=machine.devices,
            nodes=machine.nodes,
            strategy=machine.strategy,
        )


def refuse_floor(schedule: Schedule, given: frozenset[str]) -> None:
    """Refuse a floor for a rate that does not fall.

    Raises:
        InputError: the floor was given, and the schedule is `constant`.
    """
    if schedule == "constant" and "floor" in given:
        raise InputError("floor: a constant schedule does not fall; leave it out")
