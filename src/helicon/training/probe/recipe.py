"""The options of `helicon probe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from helicon.errors import InputError
from helicon.machine.precision import Precision
from helicon.models.hub import HeliconPreTrainedModel, check_cls, is_untrained
from helicon.models.parts.heads import POOLINGS, Pooling
from helicon.training.adaptation.losses import ClassWeights
from helicon.training.loop.options import Accelerator
from helicon.training.run.options import Asked, Options, check_numbers
from helicon.training.run.recipe import check_counts

NETWORKS = ("teacher", "student")


@dataclass(frozen=True, kw_only=True)
class Compare(Options):
    """What is compared, and how it is fitted.

    Attributes:
        pools: poolings with commas between: `mean`, `max`, `attention` (one learned score vector)
            and `cls` (the CLS tokens that the model was pretrained with). If not given,
            `mean,attention`, and `cls` where the model has such tokens.
        networks: of a self-distilled run: `teacher`, `student` or both with a comma between. If not
            given, the model as it is, which of such a run is the teacher.
        untrained: also probe the network with random weights: what the architecture alone tells.
        seeds: number of fits, with the seeds `seed`, `seed + 1`, ..., where the seed decides
            anything: the rows held out for validation, the first weights of attention pooling and
            the order in which it sees rows, the weights of the untrained network. Where it decides
            nothing there is one fit, with a bootstrap interval over rows.
        seed: the first one.
        monitor: measure on validation data that chooses penalties; if not given, MCC for classes,
            mean AUROC for several labels, Spearman correlation for numbers.
        class_weights: weight of rare classes: all examples alike, or all classes the same total
            (attention pooling knows half of that way, `sqrt`; the regressions take it for all).
        epochs: attention: passes over the training rows at most; decided by their number if not
            given.
        lr: attention: highest learning rate.
        batch_size: sequences at once; of results it decides attention's alone.
        cache: attention: GiB of memory for the features of all positions. Where they do not fit,
            the network computes them anew in every epoch, with the same result.
    """

    title: ClassVar[str] = "Comparison"

    pools: str | None = None
    networks: str | None = None
    untrained: bool = False
    seeds: int = 5
    seed: int = 0
    monitor: str | None = None
    class_weights: ClassWeights = "none"
    epochs: float | None = None
    lr: float = 0.01
    batch_size: int | None = None
    cache: float = 4.0

    def __post_init__(self) -> None:
        check_counts(self, ("seeds", "batch_size"))
        check_numbers(self, ("epochs", "lr"), 0, open="(")
        check_numbers(self, ("cache",), 0)
        check_numbers(self, ("seed",), 0, 2**32, open=")")

    def check(self, model: str, pools: Sequence[Pooling], asked: Asked) -> None:
        """Refuse what means nothing for the model or the poolings.

        Raises:
            InputError: names the option.
        """
        if is_untrained(model):
            asked.refuse(["networks"], f"{model} is a size without weights")
            asked.refuse(["untrained"], f"{model} is a size without weights, so nothing else is")
        if "attention" not in pools:
            asked.refuse(["epochs", "lr", "cache"], "is for attention pooling, which is not asked")
            if self.class_weights == "sqrt":
                raise InputError("class_weights: sqrt is for attention pooling; give balanced")

    def chosen_pools(self, model: HeliconPreTrainedModel) -> list[Pooling]:
        """The poolings asked for; of the usual ones those that the model has."""
        has_cls = model.config.cls_tokens > 0
        usual = ["mean", "cls", "attention"] if has_cls else ["mean", "attention"]
        chosen = usual if self.pools is None else listed("pools", self.pools, POOLINGS)
        if "cls" in chosen:
            check_cls(model.config.cls_tokens)
        return [pool for pool in POOLINGS if pool in chosen]


@dataclass(frozen=True, kw_only=True)
class ProbeMachine(Options):
    """Where a probe computes.

    Attributes:
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
    """

    title: ClassVar[str] = "Machine"

    precision: Precision = "float32"
    accelerator: Accelerator = "auto"


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
