"""Learning rates as a pure function of the step, and the parameters that are not decayed."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from torch import nn

from helicon.errors import InputError

#: `cosine` and `linear` fall from the peak to the floor; `constant` stays at the peak.
Schedule = Literal["cosine", "linear", "constant"]


def warmup_steps(warmup: float, total: int) -> int:
    """Steps of warm-up: `warmup` itself if it is 1 or more, else that share of all steps."""
    return min(total, round(warmup if warmup >= 1 else warmup * total))


def learning_rate(
    step: int,
    total: int,
    *,
    peak: float,
    schedule: Schedule = "cosine",
    warmup: float = 0.0,
    floor: float = 0.0,
) -> float:
    """Learning rate of a step.

    The rate rises linearly over the warm-up and reaches `peak` at its end. The schedule begins at
    the peak too, and would reach `floor * peak` at the step after the last: no step is without
    effect, not even the only one of a run.

    Args:
        step: number of the step, from 1 to `total`.
        total: steps of the whole run.
        peak: highest rate.
        schedule: `cosine`, `linear` or `constant`.
        warmup: steps of warm-up, or below 1 the share of all steps.
        floor: the final rate over the peak, for `cosine` and `linear`.
    """
    rising = warmup_steps(warmup, total)
    if step <= rising:
        return peak * step / rising
    if schedule == "constant":
        return peak
    passed = (step - 1 - rising) / (total - rising)
    left = (1 + math.cos(math.pi * passed)) / 2 if schedule == "cosine" else 1 - passed
    return peak * (floor + (1 - floor) * left)


def check_schedule(schedule: str, warmup: float, floor: float) -> None:
    """Raise InputError for a schedule that does not exist or a share out of range."""
    if schedule not in get_args(Schedule):
        known = ", ".join(get_args(Schedule))
        raise InputError(f"schedule: {schedule!r} is not known; choose one of {known}")
    if not 0 <= warmup < math.inf:
        raise InputError(
            f"warmup: must be a finite number, 0 or more, not {warmup}; give steps, or a share < 1"
        )
    if not 0 <= floor <= 1:
        raise InputError(f"floor: must be in [0, 1], not {floor}; it is a share of the peak rate")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: decayed, and not.

    Matrices and convolution kernels are decayed. Biases and the gains of normalisations (every
    parameter with fewer than two dimensions) are not: they set scales and offsets, and pulling
    them to zero works against the normalisation instead of limiting the network's capacity.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
