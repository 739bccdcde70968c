"""The work of fine-tuning: one seed from its first step to the saved model; several together."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from helicon.alphabet import DNA
from helicon.files import write_aside
from helicon.machine.devices import precision_of
from helicon.machine.provenance import provenance, versions
from helicon.metrics.measured import Measures, write_parquet
from helicon.models.hub import (
    HeliconPreTrainedModel,
    Metric,
    ModelCard,
    is_untrained,
    save,
)
from helicon.training.adaptation.adapt import LowRank, Supervised, adapt, fold_unit, freeze
from helicon.training.adaptation.linear import fit_probe
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.finetune.result import FinetuneResult
from helicon.training.kinds.kind import Kind, Labelled, SupervisedTask
from helicon.training.loop.fit import fit
from helicon.training.loop.options import Machine
from helicon.training.run.folder import RunFolder
from helicon.training.run.options import names_of


@dataclass(frozen=True)
class _Trained:
    """A model in the unit of training, and how it came about."""

    model: Supervised
    monitor: str
    steps: int
    best_step: int
    extra: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is learned, and how.

    Attributes:
        kind: of the data.
        data: read and divided.
        adapt: what of the model is adapted.
        fit: how it learns.
        machine: where.
        positions: labelled positions, where the data was divided by hand.
    """

    kind: Kind
    data: Labelled
    adapt: Adapt
    fit: Fit
    machine: Machine
    positions: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """Every option by name, for the recipe."""
        groups = (self.kind, self.adapt, self.fit, self.machine)
        named = {n: getattr(g, n) for g in groups for n in names_of(g, "finetune")}
        found = {"data": self.kind.data, **named, "labelled_positions": self.positions}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def is_probe(self) -> bool:
        """Whether the head is a regression on features that are computed once."""
        return self.kind.is_probe(self.adapt)

    def task(self) -> SupervisedTask:
        """What the loop trains."""
        return self.data.task(self.fit)

    def seeds(self) -> list[Plan]:
        """The plans of several runs, one a seed."""
        first = self.fit.seed
        each = range(first, first + self.fit.seeds)
        return [replace(self, fit=replace(self.fit, seed=s, seeds=1)) for s in each]


@dataclass(frozen=True)
class Work:
    """What the seeds of a run share.

    Attributes:
        plan: what is learned, and how.
        source: the model to start from.
        model: its name.
        hashes: SHA-256 of the files, by what they are for.
        fabric: the processes.
        resume: whether runs that stand in their folders are continued.
    """

    plan: Plan
    source: HeliconPreTrainedModel
    model: str
    hashes: Mapping[str, str]
    fabric: Fabric
    resume: bool

    def run(self, out: Path) -> FinetuneResult:
        """Train, measure and save with one seed."""
        task = self.plan.task()
        return self._run(out, self.plan, task, self._say(task))

    def run_seeds(self, out: Path) -> FinetuneResult:
        """Run every seed in a folder of its own, and put the results together."""
        began = time.monotonic()
        first, *others = self.plan.seeds()
        task = first.task()
        notes = self._say(task)
        with self._open(out, self.plan) as folder:
            if folder.resumed and folder.results.exists():
                return FinetuneResult.read(out)
            found = [self._run(out / f"seed-{first.fit.seed}", first, task, notes)]
            for plan in others:
                found.append(self._run(out / f"seed-{plan.fit.seed}", plan, plan.task(), notes))
            runs, seconds = tuple(found), time.monotonic() - began
            result = FinetuneResult.together(runs, out, folder.model, seconds)
            if self.fabric.is_global_zero:
                with write_aside(folder.model) as aside:
                    shutil.copytree(FinetuneResult.best_of(runs).model, aside)
            folder.write_results(self._results(result, self.plan))
        return result

    def _run(
        self, out: Path, plan: Plan, task: SupervisedTask, notes: tuple[str, ...]
    ) -> FinetuneResult:
        began = time.monotonic()
        with self._open(out, plan) as folder:
            if folder.resumed and folder.results.exists():
                return FinetuneResult.read(out)
            way = self._probe if plan.is_probe else self._train
            trained = way(folder, plan, task)
            scores = self._measure(trained.model, folder, plan, task)
            if plan.data.target.problem == "regression":
                fold_unit(trained.model, plan.data.target)
            result = FinetuneResult(
                run=out,
                model=folder.model,
                problem=plan.data.target.problem,
                names=plan.data.target.names,
                monitor=trained.monitor,
                notes=notes,
                scores=scores,
                steps=trained.steps,
                best_step=trained.best_step,
                seconds=time.monotonic() - began,
                next_command=plan.kind.next_command(out),
            )
            self._save(trained, result, folder, plan)
        self.fabric.barrier()
        return result

    def _say(self, task: SupervisedTask) -> tuple[str, ...]:
        """Print what was found and decided, from the first process."""
        notes = tuple(self._notes(task))
        if self.fabric.is_global_zero:
            print(*notes, sep="\n", file=sys.stderr, flush=True)
        return notes

    def _notes(self, task: SupervisedTask) -> list[str]:
        """What was found in the data and decided, a line each."""
        plan = self.plan
        lines = plan.data.notes(plan.adapt, plan.is_probe)
        head = plan.kind.head_settings(plan.adapt)
        pooled = f" over {head.pool} pooling" if plan.kind.head == "sequence" else ""
        said = "pair head" if plan.kind.head == "pair" else f"{head.head} head"
        if plan.is_probe:
            of = " of random weights" if self._is_fresh else ""
            probe = f"linear probe{of}{pooled}; its penalty is chosen on validation data"
            same = "the seed decides nothing here: every run is the same, without a spread"
            return [*lines, probe, *([] if of or plan.fit.seeds == 1 else [same])]
        each = task.steps_per_epoch(self.fabric.world_size)
        loop = plan.fit.planned(plan.machine, each, plan.data.epochs(each))
        if loop.steps is None:
            length = f"{loop.minutes:g} minutes"
        else:
            length = f"{loop.steps:,} steps ({loop.steps / each:.3g} epochs)"
        return [
            *lines,
            f"train {self._what}: {length} of {plan.data.batch_size(plan.fit)} "
            f"at a time, learning rate {loop.lr:g} ({loop.schedule}), {precision_of(self.fabric)}",
            f"{said}{pooled}; the best {task.monitor} on validation data is kept",
        ]

    @property
    def _what(self) -> str:
        adapt = self.plan.adapt
        if adapt.freeze:
            of = " of random weights" if self._is_fresh else ""
            return f"the head on a frozen backbone{of}"
        if adapt.lora is not None:
            return f"the head and adapters of rank {adapt.lora}"
        return "from random weights" if self._is_fresh else "all weights"

    @property
    def _is_fresh(self) -> bool:
        """Whether weights are drawn by the seed: nobody's, if the size has no published ones."""
        return self.plan.adapt.scratch or is_untrained(self.model)

    def _open(self, out: Path, plan: Plan) -> RunFolder:
        recipe = {
            "verb": "finetune",
            "unit": "bases" if self.source.backbone.alphabet is DNA else "residues",
            "recipe": {"model": self.model, **plan.values},
            "data": dict(self.hashes),
            "versions": versions(),
            "taken": {"precision": precision_of(self.fabric)},
        }
        return RunFolder.open(out, recipe, resume=self.resume, rank=self.fabric.global_rank)

    def _adapted(self, plan: Plan, weights: Any = None) -> Supervised:
        return adapt(
            self.source,
            plan.kind.head,
            plan.data.target,
            plan.kind.head_settings(plan.adapt),
            scratch=self._is_fresh,
            seed=plan.fit.seed,
            class_weights=None if weights is None else weights.tolist(),
        )

    def _train(self, folder: RunFolder, plan: Plan, task: SupervisedTask) -> _Trained:
        model = self._adapted(plan, task.weights)
        adapters = None
        if plan.adapt.freeze:
            freeze(model)
        elif plan.adapt.lora is not None:
            adapters = LowRank(model, plan.adapt.lora, plan.fit.seed)
        each = task.steps_per_epoch(self.fabric.world_size)
        loop = plan.fit.planned(plan.machine, each, plan.data.epochs(each))
        done = fit(model, task, loop, folder, self.fabric)
        if adapters is not None:
            adapters.merge()
        fields = ("planned_steps", "letters", "waited_seconds", "precision")
        extra = {name: getattr(done, name) for name in fields}
        return _Trained(model, task.monitor, done.steps, done.best_step, extra)

    def _probe(self, folder: RunFolder, plan: Plan, task: SupervisedTask) -> _Trained:
        model = self._adapted(plan)
        self.fabric.to_device(model)
        train, valid = plan.data.examples(model, plan.fit)
        probe = fit_probe(
            train,
            valid,
            plan.data.target,
            balanced=plan.fit.class_weights != "none",
            monitor=task.monitor,
        )
        probe.install(model)
        folder.append({"step": 0, "kind": "validation", **probe.valid.main})
        return _Trained(model, task.monitor, 0, 0, {"strength": probe.strength})

    def _measure(
        self, model: Supervised, folder: RunFolder, plan: Plan, task: SupervisedTask
    ) -> dict[str, Measures]:
        """Measure a model on validation and test data, and write its predictions."""
        self.fabric.to_device(model)
        scores = {}
        for name, measured, frame in plan.data.measure(model, task):
            scores[name] = measured
            if frame is not None and self.fabric.is_global_zero:
                write_parquet(frame, folder.path / "predictions" / f"{name}.parquet")
        return scores

    def _save(
        self, trained: _Trained, result: FinetuneResult, folder: RunFolder, plan: Plan
    ) -> None:
        """Write the model with its card, and then the results: the mark of a finished run."""
        if self.fabric.is_global_zero:
            save(trained.model.cpu(), folder.model, self._card(result, folder))
        parameters = sum(p.numel() for p in trained.model.parameters())
        extra = {"parameters": parameters, **trained.extra}
        folder.write_results({**self._results(result, plan), **extra})

    def _results(self, result: FinetuneResult, plan: Plan) -> dict[str, Any]:
        origin = provenance(
            seed=plan.fit.seed,
            data=self.hashes,
            seconds=result.seconds,
            accelerator=plan.machine.accelerator,
        )
        return {
            "verb": "finetune",
            **result.as_dict(),
            **plan.data.baseline(),
            "provenance": origin,
        }

    def _card(self, result: FinetuneResult, folder: RunFolder) -> ModelCard:
        data, network = self.plan.kind.data.name, self.plan.adapt.network
        base = self.model if network is None else f"{self.model} ({network})"
        return ModelCard(
            name=folder.path.resolve().name,
            summary="Fine-tuned with Helicon. " + "; ".join(result.notes) + ".",
            data=(data,),
            steps=result.steps,
            metrics=tuple(
                Metric(name, value, data, part)
                for part, scores in result.scores.items()
                for name, value in scores.main.items()
                if math.isfinite(value)
            ),
            recipe=(folder.path / "recipe.toml").read_text(encoding="utf-8"),
            base_model="" if self._is_fresh else base,
        )
