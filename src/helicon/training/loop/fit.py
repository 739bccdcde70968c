"""The fit loop: any task, one process or many, resumed exactly.

What the loop does at a step is a pure function of `(seed, step, rank)`: the task makes its batches
so, and the loop seeds torch anew before every step (dropout). A run that is killed and resumed from
its last checkpoint therefore ends with the same weights, bit for bit, as one left alone (CPU,
float32). The gradient of a step is that of the mean loss over all targets of all micro-batches of
all processes: the number of processes changes the speed, not the mathematics.

Processes, sharding, precision and devices are Lightning Fabric's; under torchrun or SLURM it takes
the processes that were started, else it starts them itself.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.errors import WorkError
from helicon.machine.devices import precision_of, prefetch, seed_torch
from helicon.machine.progress import Progress
from helicon.training.loop.budget import measure_budget
from helicon.training.loop.schedule import learning_rate, parameter_groups
from helicon.training.loop.settings import LoopSettings, launch
from helicon.training.run.checkpoint import Checkpoints, gather, spread
from helicon.training.run.folder import RunFolder

Batch = dict[str, NDArray[Any]]


class Task(Protocol):
    """What the loop trains: where batches come from, and what the loss on them is.

    Attributes:
        monitor: the entry of `validate`'s result by which the best checkpoint is chosen and
            training stops early.
        mode: whether a smaller or a larger value of it is better.
    """

    monitor: str
    mode: Literal["min", "max"]

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """Make one micro-batch: a pure function of its arguments, called in a background thread.

        Args:
            step: number of the step, from 1.
            micro: number of the micro-batch in the step, from 0.
            rank: number of the process, from 0.
            world: number of processes.

        Returns:
            Arrays by name. `input_ids` (B, L) is among them, and `attention_mask` (B, L), true at
            letters, where there is padding; the letters are counted.
        """

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Run the model on one micro-batch, whose arrays are tensors on the model's device.

        Returns:
            The *sum* of the loss over the targets, float32, and what to divide it by: the number
            of targets, or the sum of their weights. The loop divides by the total over
            micro-batches and processes, so that the gradient is that of one large batch. Of a
            `Following` task, then a sum for each of its measures.
        """

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measure on validation data. The model is in evaluation mode, without gradients.

        Every process calls it with the same data; the first one's result counts. An empty result
        means that there is no validation data: the last checkpoint is then the best.
        """


@runtime_checkable
class Following(Protocol):
    """A task with weights that follow the trained ones, and numbers to watch beside the loss.

    Attributes:
        measures: names of what `loss` gives besides, for the rows of metrics.
    """

    measures: tuple[str, ...]

    def follow(
        self, model: nn.Module, step: int, total: int, summed: Callable[[Tensor], Tensor]
    ) -> None:
        """Move what follows, after a step of the optimiser.

        Args:
            model: the trained module itself.
            step: number of the step, from 1.
            total: steps of the whole run.
            summed: adds up a tensor over all processes.
        """


@dataclass
class LoopState:
    """What the loop carries from step to step, besides weights; kept in every checkpoint."""

    step: int = 0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    loss: float = 0.0
    weight: float = 0.0
    measures: list[float] = field(default_factory=list)
    letters: int = 0


@dataclass(frozen=True)
class FitResult:
    """What came of a fit. The model passed to `fit` holds the best weights.

    Attributes:
        steps: optimiser steps done.
        planned_steps: steps that were planned; more than `steps` after an early stop.
        best_step: the step whose weights were best on validation data.
        best: `validate`'s result at that step; empty without validation data.
        last: `validate`'s result at the last step.
        seconds: time in the loop, over all starts of the run.
        waited_seconds: of these, time in which training waited for data.
        letters: letters that the network was trained on, without padding.
        precision: `float32` or `bfloat16`, as used.
    """

    steps: int
    planned_steps: int
    best_step: int
    best: dict[str, float]
    last: dict[str, float]
    seconds: float
    waited_seconds: float
    letters: int
    precision: str


#: Validations in a run that states no interval between them.
EVALUATIONS = 10
#: Rows of training metrics in such a run.
_ROWS = 100


def fit(
    model: nn.Module,
    task: Task,
    settings: LoopSettings,
    run: RunFolder,
    fabric: Fabric | None = None,
) -> FitResult:
    """Train a model, or finish the training that the run folder holds.

    Args:
        model: the model, on the CPU; afterwards it holds the best weights (in every process).
        task: batches, loss and validation.
        settings: how to train.
        run: an open run folder; with `run.resumed` its last checkpoint is taken up.
        fabric: what `launch(settings)` gave; `None` to launch here, which suits one process.

    Raises:
        WorkError: the loss is not finite (names the step, the learning rate and the last good
            checkpoint), or the disk is full.
    """
    return _Fit(model, task, settings, run, fabric or launch(settings)).run_all()


class _Fit:
    """One fit: the moving parts, and the order in which they move."""

    def __init__(
        self, model: nn.Module, task: Task, settings: LoopSettings, run: RunFolder, fabric: Fabric
    ):
        self.began = time.monotonic()  # shifted to the past by what earlier starts took
        self.given = model
        self.task, self.settings, self.run, self.fabric = task, settings, run, fabric
        self.unit = str(run.recipe.get("unit", "bases"))
        self.following = task if isinstance(task, Following) else None
        self.measures = self.following.measures if self.following else ()
        # Sharding takes a module apart for good; the one that was given must stay usable.
        trained = copy.deepcopy(model) if settings.strategy == "fsdp" else model
        optimizer = torch.optim.AdamW(
            parameter_groups(trained, settings.weight_decay),
            lr=settings.lr,
            betas=settings.betas,
            fused=True,
        )
        self.model, self.optimizer = fabric.setup(trained, optimizer)
        self.checkpoints = Checkpoints(run.checkpoints)
        self.state = LoopState()
        self.pending: list[tuple[int, Tensor]] = []
        self.window = (0, 0.0)

    def run_all(self) -> FitResult:
        """Everything from the last checkpoint, or the start, to the result."""
        self._take_up()
        self.total = self._planned_steps()
        self.eval_every = self.settings.eval_every or max(1, self.total // EVALUATIONS)
        self.checkpoint_every = self.settings.checkpoint_every or self.eval_every
        self.log_every = self.settings.log_every or max(1, self.total // _ROWS)
        if not self._finished():
            shown = self.fabric.is_global_zero
            label = self.run.path.name
            with Progress(
                label, self.total, self.state.step, shown=shown, unit=self.unit
            ) as self.progress:
                self._train()
        return self._result()

    # The parts of the loop.

    def _train(self) -> None:
        self.model.train()
        self.settled = time.monotonic()
        batches = prefetch(self._batches, range(self.state.step + 1, self.total + 1))
        try:
            while not self._finished():
                began = time.monotonic()
                batch = next(batches)
                waited = time.monotonic() - began
                self._step(self.state.step + 1, batch)
                self._count(waited, time.monotonic() - began)
                self._report()
        finally:
            batches.close()

    def _step(self, step: int, batches: list[dict[str, Tensor]]) -> None:
        """One optimiser step over the micro-batches of this process."""
        seed_torch(self.settings.seed, step, self.fabric.global_rank)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        device = self.fabric.device
        sums = torch.zeros(2 + len(self.measures), device=device)
        for micro, batch in enumerate(batches):
            more = micro + 1 < len(batches)
            with self.fabric.no_backward_sync(self.model, enabled=more):
                found = self.task.loss(self.model, self.fabric.to_device(batch))
                self.fabric.backward(found[0])
            sums += torch.stack([value.detach() for value in found])
        letters = torch.tensor([float(sum(map(_letters, batches)))], device=device)
        sums = self._summed(torch.cat([sums, letters]))
        self._divide_gradients(sums[1])
        limit = self.settings.clip or math.inf
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=limit, error_if_nonfinite=False
        )
        assert norm is not None
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.following is not None:
            self.following.follow(self.model.module, step, self.total, self._summed)
        self.pending.append((step, torch.stack([*sums, norm])))

    def _summed(self, values: Tensor) -> Tensor:
        """Values added up over all processes, in place."""
        self.fabric.all_reduce(values, reduce_op="sum")
        return values

    def _divide_gradients(self, weight: Tensor) -> None:
        """From the mean over processes of a sum over targets to the mean over all targets."""
        factor = self.fabric.world_size / weight.clamp(min=1e-8)
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        torch._foreach_mul_(grads, factor)

    def _count(self, waited: float, seconds: float) -> None:
        self.state.step += 1
        self.state.waited += waited
        self.window = (self.window[0], self.window[1] + seconds)

    def _report(self) -> None:
        """Log, validate and write a checkpoint where they are due after a step."""
        step = self.state.step
        log = step % self.log_every == 0 or step == self.total
        if log or time.monotonic() - self.settled > 0.5:
            self._settle()
        if log:
            self._log()
        self.progress.step(step)
        evaluate = step % self.eval_every == 0 or step == self.total
        better = self._validate() if evaluate else False
        if better or step % self.checkpoint_every == 0 or self._finished():
            self._checkpoint()

    def _settle(self) -> None:
        """Bring the numbers of the last steps from the device, and stop if one is not finite."""
        self.settled = time.monotonic()
        if not self.pending:
            return
        steps = [step for step, _ in self.pending]
        rows = torch.stack([sums for _, sums in self.pending]).tolist()
        self.pending = []
        for step, (loss, weight, *measures, letters, norm) in zip(steps, rows, strict=True):
            if not math.isfinite(loss):
                raise WorkError(self._broken("loss", loss, step))
            if not math.isfinite(norm):
                raise WorkError(self._broken("gradient", norm, step))
            self.state.loss += loss
            self.state.weight += weight
            before = self.state.measures or [0.0] * len(measures)
            self.state.measures = [a + b for a, b in zip(before, measures, strict=True)]
            self.state.letters += int(letters)
            self.window = (self.window[0] + int(letters), self.window[1])
        if self.state.weight and self.window[1]:
            loss = self.state.loss / self.state.weight
            self.progress.numbers(loss, self.window[0] / self.window[1])

    def _broken(self, what: str, value: float, step: int) -> str:
        last = self.checkpoints.steps()
        good = (
            f"the last good checkpoint is {self.checkpoints.path(last[-1])}"
            if last
            else ("there is no checkpoint yet")
        )
        return (
            f"the {what} became {value} at step {step} (learning rate "
            f"{self._learning_rate(step):.3g}); {good}. Lower the learning rate or clip more"
        )

    def _log(self) -> None:
        letters, seconds = self.window
        weight = self.state.weight or math.nan
        self.run.append(
            {
                "step": self.state.step,
                "kind": "train",
                "loss": self.state.loss / weight,
                **{n: m / weight for n, m in zip(self.measures, self.state.measures, strict=False)},
                "lr": self._learning_rate(self.state.step),
                self.unit: self.state.letters,
                f"{self.unit}_per_second": letters / max(seconds, 1e-9),
                "seconds": self._seconds(),
            }
        )
        self.state.loss = self.state.weight = 0.0
        self.state.measures = []
        self.window = (0, 0.0)

    def _evaluate(self) -> dict[str, float]:
        self.model.eval()
        with torch.no_grad():
            # What is measured is measured in float32; parameters in shards need the wrapper.
            sharded = self.settings.strategy == "fsdp"
            metrics = self.task.validate(self.model if sharded else self.model.module)
        self.model.train()
        return self.fabric.broadcast(metrics)

    def _validate(self) -> bool:
        """Measure on validation data; say whether these are the best weights so far."""
        metrics = self._evaluate()
        if not metrics:
            return False
        step, value = self.state.step, metrics[self.task.monitor]
        if not math.isfinite(value):
            raise WorkError(self._broken(f"validation {self.task.monitor}", value, step))
        row = {"step": step, "kind": "validation", **metrics, "seconds": self._seconds()}
        self.run.append(row)
        self.progress.validation(metrics)
        self.state.last = metrics
        best = self.state.best.get(self.task.monitor)
        sign = 1 if self.task.mode == "max" else -1
        better = best is None or sign * value > sign * best
        if better:
            self.state.best, self.state.best_step, self.state.stale = metrics, step, 0
        else:
            self.state.stale += 1
        return better

    def _checkpoint(self) -> None:
        self._settle()
        self.state.seconds = self._seconds()
        self._write()

    def _write(self) -> None:
        weights = gather(self.model._forward_module, self.optimizer.optimizer)
        if self.fabric.is_global_zero:
            self.run.sync()
            state = asdict(self.state)
            self.checkpoints.save(self.state.step, weights, state, self.state.best_step)
        self.fabric.barrier()

    # Before and after the loop.

    def _take_up(self) -> None:
        """Start from the last checkpoint of the folder, if there is one."""
        if self.fabric.is_global_zero:
            self.checkpoints.clean()
        steps = self.fabric.broadcast(self.checkpoints.steps() if self.run.resumed else [])
        self.run.keep_rows(steps[-1] if steps else 0)
        if steps:
            weights, state = self.checkpoints.load(steps[-1])
            spread(weights, self.model._forward_module, self.optimizer.optimizer)
            self.state = LoopState(**state)
            self.began -= self.state.seconds

    def _planned_steps(self) -> int:
        """The number of steps asked for, recorded before, or measured and recorded now."""
        if self.settings.steps is not None:
            return self.settings.steps
        budget = self.fabric.broadcast(self.run.budget)
        if budget is None:
            budget = self.fabric.broadcast(self._measured_budget())
            self.run.record_budget(budget)
        return int(budget["steps"])

    def _measured_budget(self) -> dict[str, Any]:
        """Time real steps, then put the weights back as they were."""
        assert self.settings.minutes is not None
        state = [*self.model.parameters(), *self.model.buffers()]
        before = [tensor.detach().clone() for tensor in state]
        self.total = 1
        self.model.train()
        budget = measure_budget(
            self.settings.minutes,
            began=self.began,
            step=lambda step: self._step(1, self._batches(step)),
            evaluate=self._rehearse,
            agree=self.fabric.broadcast,
            evaluations=EVALUATIONS,
            eval_every=self.settings.eval_every,
        )
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        self.optimizer.optimizer.state.clear()
        self.pending = []
        return asdict(budget)

    def _rehearse(self) -> None:
        """Validate and write a checkpoint for the sake of the time it takes."""
        self._evaluate()
        self._write()
        if self.fabric.is_global_zero:
            self.checkpoints.remove(self.state.step)

    def _result(self) -> FitResult:
        state = self.state
        best = state.best_step or state.step
        if best != state.step or self.given is not self.model.module:
            self.given.load_state_dict(self.checkpoints.load_model(best))
        self.given.eval()
        return FitResult(
            steps=state.step,
            planned_steps=self.total,
            best_step=best,
            best=state.best,
            last=state.last,
            seconds=state.seconds,
            waited_seconds=state.waited,
            letters=state.letters,
            precision=precision_of(self.fabric),
        )

    # Small answers.

    def _batches(self, step: int) -> list[dict[str, Tensor]]:
        """The micro-batches of a step; runs in the background thread."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        micros = range(self.settings.accumulate)
        return [self._tensors(self.task.batch(step, micro, rank, world)) for micro in micros]

    def _tensors(self, batch: Batch) -> dict[str, Tensor]:
        """Arrays as tensors, pinned for a GPU so that the copy runs beside the computation."""
        pinned = self.fabric.device.type == "cuda"
        arrays = {k: np.require(v, requirements=["C", "W"]) for k, v in batch.items()}
        tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
        return {k: v.pin_memory() if pinned else v for k, v in tensors.items()}

    def _learning_rate(self, step: int) -> float:
        s = self.settings
        return learning_rate(
            step, self.total, peak=s.lr, schedule=s.schedule, warmup=s.warmup, floor=s.floor
        )

    def _finished(self) -> bool:
        patience = self.settings.patience
        stopped = patience is not None and self.state.stale >= patience
        return stopped or self.state.step >= self.total

    def _seconds(self) -> float:
        return time.monotonic() - self.began


def _letters(batch: dict[str, Tensor]) -> int:
    """Letters in a batch, without padding."""
    mask = batch.get("attention_mask")
    return batch["input_ids"].numel() if mask is None else int(mask.sum())
