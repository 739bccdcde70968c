"""What a fine-tuning run may be told, and what it decides from the data where it is not told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from helicon.errors import InputError
from helicon.machine.precision import TrainingPrecision
from helicon.metrics.targets import TaskName
from helicon.models.hub import NetworkName
from helicon.models.parts.heads import HeadKind, Pooling
from helicon.training.adaptation.adapt import HeadSettings
from helicon.training.kinds.supervised import ClassWeights
from helicon.training.loop.schedule import Schedule
from helicon.training.loop.settings import LoopSettings
from helicon.training.run.recipe import check_counts, check_run_length, file_hashes, picked

#: Positions in a batch at most, where the batch size is not given.
_BATCH_BASES = 65_536
#: Rows that are seen in training, repeats counted, where the length is not given...
_ROWS_SEEN = 100_000
#: ... with at least and at most so many epochs.
_FEWEST_EPOCHS, _MOST_EPOCHS = 4, 30
#: Options that name files which the run reads.
_PATHS = ("train", "valid", "test", "labels", "mask", "intervals")
#: Options of the task contacts alone.
_OF_PAIRS = ("separation", "pair_crop", "pair_width", "pair_blocks")
#: Validations in a run.
_EVALUATIONS = 20


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """How to train; `finetune` documents every option."""

    verb: ClassVar[str] = "finetune"

    network: NetworkName | None = None
    task: TaskName = "auto"
    scratch: bool = False
    freeze: bool = False
    lora: int | None = None
    head: HeadKind = "linear"
    pool: Pooling | None = None
    dropout: float = 0.1
    backbone_dropout: float | None = None
    separation: int | None = None
    pair_crop: int | None = None
    pair_width: int | None = None
    pair_blocks: int | None = None
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_size: int | None = None
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.1
    schedule: Schedule = "cosine"
    warmup: float = 0.1
    floor: float = 0.01
    clip: float | None = 1.0
    eval_every: int | None = None
    patience: int | None = 8
    monitor: str | None = None
    class_weights: ClassWeights = "none"
    reverse_complement: bool | None = None
    both_strands: bool = False
    validation_fraction: float = 0.1
    seed: int = 0
    seeds: int = 1
    precision: TrainingPrecision = "auto"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        check_run_length(self.steps, self.epochs, self.minutes)
        check_counts(self, ("batch_size", "seeds", "lora", "patience", *_OF_PAIRS))
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction: must be between 0 and 1, not {self.validation_fraction}"
            )
        given = [name for name in _OF_PAIRS if getattr(self, name) is not None]
        if given and self.task != "contacts":
            raise InputError(f"{given[0]}: is of the task contacts; name it, or leave this out")
        if self.lora is not None and self.freeze:
            raise InputError("give freeze or lora, not both")
        if self.scratch and self.lora is not None:
            raise InputError(
                "give scratch, which draws all weights anew, or lora, which keeps them"
            )

    @property
    def is_probe(self) -> bool:
        """Whether this is the linear probe on cached features."""
        return self.freeze and self.head == "linear" and self.pool != "attention"

    @property
    def head_settings(self) -> HeadSettings:
        """The new part of the network."""
        pool = self.pool or ("mean" if self.is_probe else "attention")
        usual = HeadSettings(pool, self.head, self.dropout, self.backbone_dropout)
        return replace(
            usual,
            pair_width=self.pair_width or usual.pair_width,
            pair_blocks=self.pair_blocks or usual.pair_blocks,
            pair_separation=self.separation or usual.pair_separation,
        )

    def loop(self, steps_per_epoch: int, default_epochs: float) -> LoopSettings:
        """Settings of the fit loop, with epochs turned into steps.

        Args:
            steps_per_epoch: optimiser steps that see the training data once.
            default_epochs: epochs where neither steps nor epochs nor minutes are given.
        """
        steps = self.steps
        if steps is None and self.minutes is None:
            steps = max(1, round((self.epochs or default_epochs) * steps_per_epoch))
        eval_every = self.eval_every
        if eval_every is None and steps is not None:
            eval_every = min(steps, max(steps_per_epoch, steps // _EVALUATIONS))
        return LoopSettings(
            steps=steps,
            minutes=self.minutes,
            lr=self.lr,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup=self.warmup,
            floor=self.floor,
            clip=self.clip,
            accumulate=self.accumulate,
            precision=self.precision,
            seed=self.seed,
            eval_every=eval_every,
            patience=self.patience,
            accelerator=self.accelerator,
            devices=self.devices,
            nodes=self.nodes,
            strategy=self.strategy,
        )


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(FinetuneSettings):
    """Every option of `helicon finetune` but the run folder; `finetune` documents them."""

    model: str
    train: Path
    target: str = "label"
    valid: Path | None = None
    test: Path | None = None
    sequence: str = "sequence"
    labels: Path | None = None
    mask: Path | None = None
    feature: str = "CDS"
    sites: bool = False
    by: Literal["strand", "name"] = "strand"
    length: int = 1024
    context: int | None = None
    labelled_windows: int | None = None
    intervals: Path | None = None
    valid_chromosomes: list[str] | None = None
    test_chromosomes: list[str] | None = None
    split_block: int = 50_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, ("length", "labelled_windows", "split_block"))
        if self.context is not None and self.context < 0:
            raise InputError(f"context: must not be negative, not {self.context}")
        if self.labels is not None and self.task == "contacts":
            raise InputError("labels: are of a genome; contacts stand in the file of structures")
        if self.labels is None:
            self.refuse_genome_options()
        elif self.valid is not None or self.test is not None:
            raise InputError(
                "valid and test are tables; with labels a genome is divided by intervals, "
                "valid_chromosomes and test_chromosomes, or split_block, and residues by the "
                "headers of the labels (SET=test)"
            )
        elif self.intervals is not None and (self.valid_chromosomes or self.test_chromosomes):
            raise InputError("give intervals, whose file names the split, or chromosomes")

    def refuse_genome_options(self) -> None:
        """Refuse options that would silently do nothing without labels of a genome."""
        names = ("intervals", "valid_chromosomes", "test_chromosomes", "labelled_windows")
        if given := [name for name in names if getattr(self, name) is not None]:
            raise InputError(f"{given[0]} divides a genome; give its labels too, or leave it out")
        if self.labels is None and self.mask is not None and self.task != "auto":
            raise InputError("mask: is of labels of residues; leave it out, or the task")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the recipe out of a function's arguments; texts serve as paths."""
        return cls(**picked(cls, arguments, _PATHS))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that the run reads, by the option that names it."""
        return file_hashes(self, _PATHS)


def default_epochs(rows: int) -> float:
    """Epochs for so many training rows: small sets are seen more often."""
    return float(np.clip(round(_ROWS_SEEN / rows), _FEWEST_EPOCHS, _MOST_EPOCHS))


def default_batch(rows: int, lengths: NDArray[np.int64]) -> int:
    """Sequences in a batch: more for larger sets, as many as memory easily holds."""
    size = 32 if rows < 10_000 else 64 if rows < 50_000 else 128
    room = _BATCH_BASES // int(np.quantile(lengths, 0.95, method="higher"))
    return max(1, min(size, room, rows))


def numbered(settings: FinetuneSettings, seed: int) -> FinetuneSettings:
    """The settings of one of several runs."""
    return replace(settings, seed=seed, seeds=1)
