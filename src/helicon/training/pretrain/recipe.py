"""The options of `helicon pretrain`: what a genome and what proteins decide for themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from helicon.alphabet import DNA, Alphabet
from helicon.data.sampling.clusters import ClusterBy
from helicon.errors import InputError
from helicon.machine.precision import TrainingPrecision
from helicon.objectives.masked_lm import Masking, Replacement
from helicon.objectives.self_distillation import Distillation, Over
from helicon.training.loop.schedule import Schedule
from helicon.training.loop.settings import LoopSettings
from helicon.training.run.recipe import Option, check_counts, check_run_length, from_values

Objective = Literal["masked-lm", "self-distillation"]


@dataclass(frozen=True)
class PretrainRecipe:
    """Every option of `helicon pretrain` but the run folder; `pretrain` documents them.

    An option that is `None` was not given. `resolved` fills in what the alphabet decides.
    """

    verb: ClassVar[str] = "pretrain"

    data: Path
    model: str = "convnova-small"
    backbone: dict[str, Option] | None = None
    objective: Objective = "masked-lm"
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    length: int | None = None
    batch_size: int | None = None
    max_tokens: int | None = None
    max_sequences: int | None = None
    crop: int | None = None
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    floor: float = 0.01
    clip: float = 1.0
    mask_rate: float | None = None
    replacement: Replacement | None = None
    soft_weight: float | None = None
    views: str | None = None
    cls_tokens: int | None = None
    cls_softmax: Over | None = None
    alpha: float | None = None
    student_temperature: float | None = None
    teacher_temperature: float | None = None
    teacher_momentum: float | None = None
    center_momentum: float | None = None
    intervals: Path | None = None
    offsets: Literal["random", "head"] | None = None
    reverse_complement: bool | None = None
    max_unknown: float | None = None
    valid_chromosomes: list[str] | None = None
    test_chromosomes: list[str] | None = None
    split_block: int | None = None
    validation_windows: int | None = None
    test_windows: int | None = None
    sequence: str | None = None
    clusters: Path | None = None
    cluster_by: ClusterBy | None = None
    validation_fraction: float | None = None
    test_fraction: float | None = None
    validation_sequences: int | None = None
    test_sequences: int | None = None
    eval_every: int | None = None
    checkpoint_every: int | None = None
    patience: int | None = None
    seed: int = 0
    precision: TrainingPrecision = "auto"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        check_run_length(self.steps, self.epochs, self.minutes)
        check_counts(self, _COUNTS)
        if self.seed < 0:
            raise InputError(f"seed: must not be negative, not {self.seed}")
        if self.max_unknown is not None and not 0 <= self.max_unknown <= 1:
            raise InputError(f"max_unknown: must be in [0, 1], not {self.max_unknown}")
        if self.intervals is not None and (self.valid_chromosomes or self.test_chromosomes):
            raise InputError("give intervals, whose file names the split, or chromosomes")
        if self.test_chromosomes and not self.valid_chromosomes:
            raise InputError("test_chromosomes: name valid_chromosomes too, to choose on")
        if self.clusters is not None and self.cluster_by is not None:
            raise InputError("give clusters, a table that names them, or cluster_by, not both")
        self._check_fractions()
        self._check_objective()
        self.masking, self.distillation, self.loop(1)  # their own checks

    def _check_objective(self) -> None:
        distilled = self.objective == "self-distillation"
        foreign = _MASKED_LM if distilled else _SELF_DISTILLATION
        if given := [name for name in foreign if getattr(self, name) is not None]:
            other = "masked-lm" if distilled else "self-distillation"
            raise InputError(
                f"{given[0]}: is an option of the objective {other}, not of {self.objective}; "
                "leave it out"
            )
        if distilled and self.strategy == "fsdp":
            raise InputError("strategy: self-distillation is not for fsdp; give ddp or auto")

    def _check_fractions(self) -> None:
        given = [("validation", self.validation_fraction), ("test", self.test_fraction)]
        for name, value in given:
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{name}_fraction: must be in [0, 1), not {value}")
        if sum(value or 0 for _, value in given) >= 1:
            raise InputError("validation_fraction and test_fraction leave nothing to train on")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the recipe out of a function's arguments, and check their types."""
        names = [f.name for f in dataclasses.fields(cls)]
        return from_values(cls, {name: arguments[name] for name in names}, cls.verb)

    def resolved(self, alphabet: Alphabet) -> Self:
        """The recipe with every option that the alphabet decides.

        Raises:
            InputError: an option belongs to data of the other kind.
        """
        mine, other = (GenomeOptions, ProteinOptions)[:: 1 if alphabet is DNA else -1]
        foreign = _names(other) - _names(mine)
        if given := [f.name for f in dataclasses.fields(self) if f.name in foreign & _given(self)]:
            raise InputError(
                f"{given[0]}: is an option for {other.what}, but {self.model} reads {mine.what}; "
                "leave it out"
            )
        values = dataclasses.asdict(mine.of(self))
        if self.objective == "self-distillation":
            default = Distillation(views=_VIEWS if alphabet.complements else _VIEWS_ONE_STRAND)
            values |= dataclasses.asdict(default) | dict.fromkeys(_MASKED_LM)
            values |= {name: getattr(self, name) for name in values.keys() & _given(self)}
        return dataclasses.replace(self, **values)

    @property
    def distillation(self) -> Distillation | None:
        """How a student learns from its teacher; `None` with another objective."""
        if self.objective != "self-distillation":
            return None
        names = (f.name for f in dataclasses.fields(Distillation))
        return Distillation(**{n: v for n in names if (v := getattr(self, n)) is not None})

    @property
    def masking(self) -> Masking:
        """How sequences are corrupted."""
        given = {
            "rate": self.mask_rate,
            "replacement": self.replacement,
            "soft_weight": self.soft_weight,
        }
        return Masking(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]

    def loop(self, steps: int | None) -> LoopSettings:
        """How the loop trains; `steps` is `None` for a budget in minutes."""
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
            precision=self.precision,
            seed=self.seed,
            eval_every=self.eval_every,
            checkpoint_every=self.checkpoint_every,
            patience=self.patience,
            accelerator=self.accelerator,
            devices=self.devices,
            nodes=self.nodes,
            strategy=self.strategy,
        )


#: Options of one objective alone.
_MASKED_LM = ("replacement", "soft_weight")
_SELF_DISTILLATION = tuple(
    f.name for f in dataclasses.fields(Distillation) if f.name != "mask_rate"
)
#: Views, where they are not given: the paper's, without the other strand where there is none.
_VIEWS, _VIEWS_ONE_STRAND = "MDIT+NR", "MDIT+N"

_COUNTS = (
    "length",
    "batch_size",
    "max_tokens",
    "max_sequences",
    "crop",
    "split_block",
    "validation_windows",
    "test_windows",
    "validation_sequences",
    "test_sequences",
)


@dataclass(frozen=True)
class GenomeOptions:
    """What a genome decides, and its defaults."""

    what: ClassVar[str] = "a genome"

    length: int = 1024
    batch_size: int = 32
    mask_rate: float = 0.10
    replacement: Replacement = "mask"
    soft_weight: float = 1.0
    intervals: Path | None = None
    offsets: Literal["random", "head"] = "random"
    reverse_complement: bool = True
    max_unknown: float = 0.5
    valid_chromosomes: list[str] | None = None
    test_chromosomes: list[str] | None = None
    split_block: int = 50_000
    validation_windows: int = 256
    test_windows: int = 2048

    @classmethod
    def of(cls, recipe: PretrainRecipe) -> Self:
        """The options as given, and the defaults of the others."""
        if recipe.replacement == "carp":
            raise InputError("replacement: `carp` is for proteins; leave it out, or give mask")
        return cls(**{name: getattr(recipe, name) for name in _names(cls) & _given(recipe)})


@dataclass(frozen=True)
class ProteinOptions:
    """What proteins decide, and their defaults."""

    what: ClassVar[str] = "proteins"

    max_tokens: int = 16_384
    max_sequences: int = 1024
    crop: int | None = None
    mask_rate: float = 0.15
    replacement: Replacement = "carp"
    sequence: str = "sequence"
    clusters: Path | None = None
    cluster_by: ClusterBy | None = None
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    validation_sequences: int = 1024
    test_sequences: int = 8192

    @classmethod
    def of(cls, recipe: PretrainRecipe) -> Self:
        """The options as given, and the defaults of the others."""
        if recipe.replacement == "official":
            raise InputError(
                "replacement: `official` is what ConvNova's code does with DNA; leave it out, or "
                "give carp"
            )
        if recipe.clusters is None and recipe.cluster_by is None:
            recipe = dataclasses.replace(recipe, cluster_by="kmers")
        return cls(**{name: getattr(recipe, name) for name in _names(cls) & _given(recipe)})


def _names(kind: type[Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)}


def _given(recipe: PretrainRecipe) -> set[str]:
    return {name for name in _names(PretrainRecipe) if getattr(recipe, name) is not None}
