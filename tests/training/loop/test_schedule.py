"""Learning rates over the true number of steps; which parameters are decayed."""

import itertools

import pytest
from torch import nn

from helicon.errors import InputError
from helicon.training.loop.schedule import (
    check_schedule,
    learning_rate,
    parameter_groups,
    warmup_steps,
)


def rates(total=100, **options):
    return [learning_rate(step, total, peak=2.0, **options) for step in range(1, total + 1)]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_warm_up_peak_and_floor(schedule):
    found = rates(schedule=schedule, warmup=0.1, floor=0.1)
    assert found[:10] == pytest.approx([0.2 * i for i in range(1, 11)])
    assert found[10] == max(found) == 2.0
    assert all(a > b for a, b in itertools.pairwise(found[10:]))
    assert found[55] == pytest.approx(1.1)  # half-way between peak and floor
    assert 0.2 < found[-1] < 0.23


def test_constant_stays_at_the_peak():
    assert rates(schedule="constant", warmup=3)[3:] == [2.0] * 97


def test_warm_up_is_a_share_or_a_number_of_steps():
    assert warmup_steps(0.05, 1000) == 50
    assert warmup_steps(20, 1000) == 20
    assert warmup_steps(500, 100) == 100
    assert rates(total=1, warmup=0.05) == [2.0]
    assert rates(total=4, warmup=10)[-1] == 2.0


@pytest.mark.parametrize(
    "options", [("step", 0.1, 0.1), ("cosine", -1.0, 0.1), ("cosine", 0.1, 1.5)]
)
def test_impossible_schedules_are_refused(options):
    with pytest.raises(InputError):
        check_schedule(*options)


def test_biases_and_normalisations_are_not_decayed():
    model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.LayerNorm(8), nn.Linear(8, 2))
    model[2].weight.requires_grad_(False)
    decayed, plain = parameter_groups(model, 0.3)
    assert [p.shape for p in decayed["params"]] == [(8, 4, 3)] and decayed["weight_decay"] == 0.3
    assert all(p.ndim == 1 for p in plain["params"]) and plain["weight_decay"] == 0
    assert len(plain["params"]) == 4
