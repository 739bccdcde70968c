"""The options of `helicon probe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from helicon.errors import InputError
from helicon.machine.precision import Precision
from helicon.metrics.targets import TaskName
from helicon.models.hub import HeliconPreTrainedModel, check_cls, is_untrained
from helicon.models.parts.heads import POOLINGS, Pooling
from helicon.training.kinds.supervised import ClassWeights
from helicon.training.run.recipe import check_counts, file_hashes, picked

#: Options that name files which are read.
PATHS = ("train", "valid", "test")
NETWORKS = ("teacher", "student")


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe:
    """Every option of `helicon probe` but the folder; `probe` documents them."""

    verb: ClassVar[str] = "probe"

    model: str
    train: Path
    target: str = "label"
    valid: Path | None = None
    test: Path | None = None
    sequence: str = "sequence"
    task: TaskName = "auto"
    pools: str | None = None
    networks: str | None = None
    untrained: bool = False
    seeds: int = 5
    seed: int = 0
    validation_fraction: float = 0.1
    monitor: str | None = None
    class_weights: ClassWeights = "none"
    epochs: float | None = None
    lr: float = 0.01
    batch_size: int | None = None
    cache: float = 4.0
    precision: Precision = "float32"
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        check_counts(self, ("seeds", "batch_size"))
        for name in ("epochs", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}: must be more than 0, not {value}")
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction: must be between 0 and 1, not {self.validation_fraction}"
            )
        if self.cache < 0:
            raise InputError(f"cache: must not be negative, not {self.cache}")
        if self.task == "contacts":
            raise InputError("task: contacts are probed by helicon finetune --freeze")
        if is_untrained(self.model) and self.networks is not None:
            raise InputError(f"networks: {self.model} is a size without weights; leave it out")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the recipe out of a function's arguments; texts serve as paths."""
        return cls(**picked(cls, arguments, PATHS))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every table, by the option that names it."""
        return file_hashes(self, PATHS)

    def chosen_pools(self, model: HeliconPreTrainedModel) -> list[Pooling]:
        """The poolings asked for; of the usual ones those that the model has."""
        has_cls = model.config.cls_tokens > 0
        usual = ["mean", "cls", "attention"] if has_cls else ["mean", "attention"]
        chosen = usual if self.pools is None else listed("pools", self.pools, POOLINGS)
        if "cls" in chosen:
            check_cls(model.config.cls_tokens)
        return [pool for pool in POOLINGS if pool in chosen]


def listed(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Names with commas between.

    Raises:
        InputError: there is none, or an unknown one.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise InputError(f"{option}: {name!r} is not known; choose of {','.join(known)}")
    return names
