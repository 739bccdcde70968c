"""A budget in minutes becomes a number of steps, before the first of them counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Steps run first and not measured: memory is allocated, kernels are chosen, caches fill.
_WARM = 2
#: At least so many steps are measured, and so many seconds or this share of the budget.
_STEPS, _SECONDS, _SHARE = 3, 5.0, 0.03


@dataclass(frozen=True)
class Budget:
    """What was measured, and the steps that fit.

    Attributes:
        minutes: the budget.
        steps: optimiser steps, at least 1.
        step_seconds: time of a step.
        evaluation_seconds: time of a validation with its checkpoint.
        evaluations: validations in the run.
    """

    minutes: float
    steps: int
    step_seconds: float
    evaluation_seconds: float
    evaluations: int


def measure_budget(
    minutes: float,
    *,
    began: float,
    step: Callable[[int], None],
    evaluate: Callable[[], object],
    agree: Callable[[bool], bool],
    evaluations: int,
    eval_every: int | None,
) -> Budget:
    """Run some steps and one validation, and count the steps that fit in the time that is left.

    Args:
        minutes: the whole budget, what is spent here included.
        began: `time.monotonic()` at which the budget began.
        step: runs a step whose effect the caller undoes.
        evaluate: runs a validation and what goes with it.
        agree: gives every process the first one's answer: clocks differ, steps are common.
        evaluations: validations in the run where `eval_every` is `None`.
        eval_every: steps between validations, or `None`.
    """
    evaluate_began = time.monotonic()
    evaluate()
    evaluation = time.monotonic() - evaluate_began
    for number in range(1, _WARM + 1):
        step(number)
    window = min(_SECONDS, _SHARE * 60 * minutes)
    first, count = time.monotonic(), 0
    while agree(count < _STEPS or time.monotonic() - first < window):
        count += 1
        step(_WARM + count)
    each = (time.monotonic() - first) / count
    left = 60 * minutes - (time.monotonic() - began)
    if eval_every is None:
        steps = max(1, int((left - evaluations * evaluation) / each))
    else:
        steps = max(1, int(left / (each + evaluation / eval_every)))
        evaluations = -(-steps // eval_every)
    return Budget(minutes, steps, each, evaluation, evaluations)
