"""How a loop trains, checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from helicon.errors import InputError
from helicon.machine.devices import start_processes
from helicon.machine.precision import TrainingPrecision, training_precision
from helicon.training.loop.schedule import Schedule, check_schedule
from helicon.training.run.folder import precision_begun
from helicon.training.run.options import check_numbers
from helicon.training.run.recipe import check_counts


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Attributes:
        steps: optimiser steps; or `None` with `minutes`.
        minutes: time to spend, which becomes a number of steps after the first seconds.
        lr: highest learning rate.
        weight_decay: of matrices and kernels; biases and normalisations are never decayed.
        betas: of AdamW.
        schedule: `cosine`, `linear` or `constant`, after the warm-up.
        warmup: steps of warm-up, or below 1 the share of all steps.
        floor: last learning rate over the highest.
        clip: largest norm of the gradient; `None` for no limit.
        accumulate: micro-batches in a step, in each process.
        precision: `auto`, `float32` or `bfloat16` (weights stay in float32).
        seed: of every random choice.
        eval_every: steps between validations; `None` for ten in the run.
        checkpoint_every: steps between checkpoints; `None` for one with each validation.
        patience: validations without improvement after which training stops; `None` for never.
        log_every: steps between rows of metrics; `None` for about a hundred in the run.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on each machine, one a device.
        nodes: machines.
        strategy: `auto`, `ddp` or `fsdp`.
    """

    steps: int | None = None
    minutes: float | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = "cosine"
    warmup: float = 0.0
    floor: float = 0.0
    clip: float | None = 1.0
    accumulate: int = 1
    precision: TrainingPrecision = "auto"
    seed: int = 0
    eval_every: int | None = None
    checkpoint_every: int | None = None
    patience: int | None = None
    log_every: int | None = None
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise InputError("give one of steps and minutes")
        check_schedule(self.schedule, self.warmup, self.floor)
        counts = ("steps", "accumulate", "devices", "nodes", "eval_every", "checkpoint_every")
        check_counts(self, counts)
        check_numbers(self, ("minutes", "lr", "clip"), 0, open="(")
        check_numbers(self, ("weight_decay",), 0)
        check_numbers(self, ("seed",), 0, 2**63, open=")")


def launch(settings: LoopSettings, resumed: Path | None = None) -> Fabric:
    """Start the processes that the settings ask for.

    Call it first, before the run folder is opened: with several devices, and no torchrun or SLURM,
    it starts this program again for each of them. `fabric.global_rank` is for `RunFolder.open`.

    Args:
        settings: how to train.
        resumed: folder of a run to go on with, whose precision is kept, on whatever machine.
    """
    begun = None if resumed is None else precision_begun(resumed)
    return start_processes(
        accelerator=settings.accelerator,
        devices=settings.devices,
        nodes=settings.nodes,
        strategy=settings.strategy,
        precision=begun or training_precision(settings.precision, settings.accelerator),
    )
