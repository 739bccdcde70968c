"""The fit loop: gradients, accumulation, processes, early stops, budgets, and what breaks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_task import ToyModel, ToyTask, settings, train

import helicon.training.loop.fit as loop
from helicon.errors import InputError, WorkError
from helicon.machine.devices import prefetch

HERE = Path(__file__).parents[2] / "support"


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, two, **tolerance):
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], **(tolerance or {"rtol": 0, "atol": 0}))


def strip(rows):
    timing = ("seconds", "bases_per_second")
    return [{k: v for k, v in row.items() if k not in timing} for row in rows]


def test_training_learns_and_says_what_it_did(tmp_path):
    _, result, rows = train(tmp_path, steps=60, lr=0.05, eval_every=20, log_every=10)
    assert result.steps == result.planned_steps == 60
    assert result.letters == 60 * 4 * 16
    assert result.last["loss"] < 0.9 * rows[0]["loss"]
    kinds = [(row["step"], row["kind"]) for row in rows]
    assert kinds == [
        (10, "train"),
        (20, "train"),
        (20, "validation"),
        (30, "train"),
        (40, "train"),
        (40, "validation"),
        (50, "train"),
        (60, "train"),
        (60, "validation"),
    ]
    assert rows[0].keys() == {
        "step", "kind", "loss", "lr", "bases", "bases_per_second", "seconds"
    }  # fmt: skip


def test_two_runs_are_equal(tmp_path):
    one, _, rows = train(tmp_path / "a", steps=12)
    two, _, others = train(tmp_path / "b", steps=12)
    three, _, _ = train(tmp_path / "c", steps=12, seed=1)
    same(weights(one), weights(two))
    assert strip(rows) == strip(others)
    assert not torch.equal(one.conv.weight, three.conv.weight)  # other dropout


class Halves(ToyTask):
    """Gives as micro-batches what the toy task gives as one batch."""

    def batch(self, step, micro, rank, world):
        whole = ToyTask.batch(self, step, 0, 0, 1)
        return {key: value[2 * micro : 2 * micro + 2] for key, value in whole.items()}


def test_accumulated_micro_batches_are_one_large_batch(tmp_path):
    whole, _, rows = train(tmp_path / "a", steps=5, model=ToyModel(dropout=0))
    parts, _, others = train(
        tmp_path / "b", steps=5, model=ToyModel(dropout=0), task=Halves(), accumulate=2
    )
    same(weights(whole), weights(parts), rtol=1e-5, atol=1e-6)
    assert [r["loss"] for r in rows] == pytest.approx([r["loss"] for r in others], rel=1e-5)


def test_the_step_is_that_of_plain_torch(tmp_path):
    """Two steps by hand: the mean over targets, clipping, AdamW, the schedule."""
    options = {"steps": 2, "lr": 0.1, "weight_decay": 0.2, "clip": 0.05, "schedule": "constant"}
    found, _, _ = train(tmp_path, model=ToyModel(dropout=0), **options)
    model, task = ToyModel(dropout=0), ToyTask()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.2}, {"params": plain, "weight_decay": 0.0}], lr=0.1
    )
    for step in (1, 2):
        batch = {k: torch.from_numpy(v) for k, v in task.batch(step, 0, 0, 1).items()}
        loss, weight = task.loss(model, batch)
        optimizer.zero_grad()
        (loss / weight).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
    same(weights(found), weights(model), rtol=1e-4, atol=1e-5)


class Joined(ToyTask):
    """The batches of two processes as one."""

    def batch(self, step, micro, rank, world):
        parts = [ToyTask.batch(self, step, micro, r, 2) for r in range(2)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@pytest.mark.parametrize("launcher", ["own", "torchrun"])
def test_two_processes_take_the_steps_of_one_with_the_joined_batch(tmp_path, launcher):
    options = {"lr": 0.02, "clip": 0.5}
    length = {"steps": 6} if launcher == "own" else {"minutes": 0.02}
    asked = json.dumps(options | length)
    program = [str(HERE / "toy_ddp.py"), str(tmp_path / "two"), asked]
    start = [sys.executable]
    if launcher == "torchrun":
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [*start, *program], capture_output=True, text=True, env=clean | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    two = tmp_path / "two"
    if launcher == "torchrun":
        length = {"steps": json.loads((two / "budget.json").read_text())["steps"]}
    one = {"model": ToyModel(dropout=0), "task": Joined()}
    model, result, rows = train(tmp_path / "one", **one, **length, **options)
    found = load_file(two / "checkpoints" / f"step-{result.steps:08}" / "model.safetensors")
    same(weights(model), found, rtol=1e-3, atol=1e-4)
    others = [json.loads(line) for line in (two / "metrics.jsonl").read_text().splitlines()]
    assert [r["loss"] for r in rows] == pytest.approx([r["loss"] for r in others], rel=1e-4)
    assert others[-2]["bases"] == result.letters


class Worsening(ToyTask):
    """Validation is best at the third time."""

    def __init__(self, mode="min"):
        super().__init__()
        self.mode = mode
        self.values = iter([3.0, 2.0, 1.0, 4.0, 5.0, 6.0, 7.0, 8.0])

    def validate(self, model):
        value = next(self.values)
        return {"loss": value if self.mode == "min" else -value, "other": 1.0}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_early_stop_and_the_best_weights(tmp_path, mode):
    model, result, _ = train(tmp_path, steps=80, eval_every=10, patience=2, task=Worsening(mode))
    assert (result.steps, result.planned_steps, result.best_step) == (50, 80, 30)
    assert abs(result.best["loss"]) == 1.0 and abs(result.last["loss"]) == 5.0
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000030", "step-00000040", "step-00000050"]
    same(weights(model), load_file(tmp_path / "checkpoints" / kept[0] / "model.safetensors"))
    again, repeated, _ = train(
        tmp_path, steps=80, eval_every=10, patience=2, task=Worsening(mode), resume=True
    )
    assert repeated.steps == 50 and repeated.best_step == 30
    same(weights(model), weights(again))


def test_without_validation_the_last_weights_are_the_best(tmp_path):
    class Blind(ToyTask):
        def validate(self, model):
            return {}

    _, result, rows = train(tmp_path, steps=10, task=Blind())
    assert result.best_step == 10 and result.best == {}
    assert {row["kind"] for row in rows} == {"train"}


def test_a_loss_that_is_nan_stops_the_run(tmp_path):
    with pytest.raises(WorkError) as caught:
        train(tmp_path, steps=20, eval_every=5, log_every=5, task=ToyTask(break_at=13))
    said = str(caught.value)
    assert "the loss became nan at step 13" in said and "\n" not in said
    assert "learning rate" in said and "step-00000010" in said
    good = load_file(tmp_path / "checkpoints" / "step-00000010" / "model.safetensors")
    assert all(value.isfinite().all() for value in good.values())


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_checkpoint(tmp_path):
    class Exploding(ToyTask):
        def loss(self, model, batch):
            loss, weight = super().loss(model, batch)
            zero = (model.module.out.bias * 0).sum()
            return loss + zero.sqrt(), weight  # value 0, gradient nan

    with pytest.raises(WorkError, match=r"the gradient became nan at step 1 .* no checkpoint yet"):
        train(tmp_path, steps=4, eval_every=1, task=Exploding())
    assert not (tmp_path / "checkpoints").exists()


def test_a_full_disk_stops_the_run_and_it_can_be_resumed(tmp_path, monkeypatch):
    whole, _, _ = train(tmp_path / "whole", steps=12, eval_every=4)
    save, calls = loop.Checkpoints.save, []

    def fails_once(self, *args):
        calls.append(args[0])
        if args[0] == 8:
            monkeypatch.setattr("helicon.training.run.checkpoint.save_file", full)
        save(self, *args)

    def full(tensors, path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoints, "save", fails_once)
        with pytest.raises(WorkError, match="disk is full"):
            train(tmp_path / "run", steps=12, eval_every=4)
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004"]
    again, _, _ = train(tmp_path / "run", steps=12, eval_every=4, resume=True)
    same(weights(whole), weights(again))


def test_minutes_become_steps_that_are_recorded_and_reproduce_the_run(tmp_path):
    model, result, rows = train(tmp_path / "minutes", minutes=0.02)
    budget = json.loads((tmp_path / "minutes" / "budget.json").read_text())
    assert budget["minutes"] == 0.02 and budget["steps"] == result.steps > 0
    twin, _, others = train(tmp_path / "steps", steps=result.steps)
    same(weights(model), weights(twin))
    assert strip(rows) == strip(others)


def test_a_resumed_run_uses_the_recorded_number(tmp_path, monkeypatch):
    budget = {"minutes": 0.5, "steps": 7}
    (tmp_path / "budget.json").write_text(json.dumps(budget))
    monkeypatch.setattr(loop, "measure_budget", pytest.fail)
    (tmp_path / "recipe.toml").write_text('verb = "toy"\n[recipe]\nminutes = 0.5\n')
    _, result, _ = train(tmp_path, minutes=0.5, resume=True)
    assert result.steps == 7


@pytest.mark.parametrize("eval_every", [None, 4])
def test_the_budget_leaves_time_for_validation(monkeypatch, eval_every):
    """A clock of our own: a step takes 2 s, a validation 5 s, the budget is 10 minutes."""
    import helicon.training.loop.budget as budget

    clock = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])

    def spend(seconds):
        clock[0] += seconds

    found = budget.measure_budget(
        10,
        began=90.0,
        step=lambda step: spend(2),
        evaluate=lambda: spend(5),
        agree=bool,
        evaluations=10,
        eval_every=eval_every,
    )
    spent = clock[0] - 90
    needed = 2 * found.steps + 5 * found.evaluations
    assert found.step_seconds == 2 and found.evaluation_seconds == 5
    assert 570 < spent + needed <= 605


def test_batches_are_made_ahead_in_order_and_errors_come_through():
    made = []

    def make(number):
        made.append(number)
        if number == 7:
            raise InputError("broken")
        return number

    batches = prefetch(make, range(1, 9), ahead=2)
    assert [next(batches) for _ in range(3)] == [1, 2, 3]
    assert max(made) <= 6
    with pytest.raises(InputError):
        list(batches)
    closing = prefetch(make, range(100))
    next(closing)
    closing.close()


def test_bfloat16_keeps_weights_and_loss_in_float32(tmp_path):
    seen = []

    class Watching(ToyTask):
        def loss(self, model, batch):
            seen.append(model(torch.ones(1, 16, 4)).dtype)
            return super().loss(model, batch)

    model, result, _ = train(tmp_path, steps=2, precision="bfloat16", task=Watching())
    assert result.precision == "bfloat16" and set(seen) == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert math.isfinite(result.last["loss"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps": 5, "minutes": 1.0},
        {"steps": 0},
        {"minutes": 0.0},
        {"steps": 5, "lr": -1.0},
        {"steps": 5, "accumulate": 0},
        {"steps": 5, "schedule": "staircase"},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(InputError):
        settings(**options)


@pytest.mark.parametrize("options", [{"strategy": "magic"}, {"accelerator": "abacus"}])
def test_devices_that_do_not_exist_are_refused(options):
    with pytest.raises(InputError):
        loop.launch(settings(steps=1, **options))
