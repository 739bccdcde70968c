"""The work of fine-tuning: one seed from its first step to the saved model; several together."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from helicon.alphabet import DNA
from helicon.files import write_aside
from helicon.machine.devices import precision_of
from helicon.machine.provenance import provenance, versions
from helicon.metrics.scores import Scores, write_parquet
from helicon.models.hub import (
    HeliconPreTrainedModel,
    Metric,
    ModelCard,
    is_untrained,
    save,
)
from helicon.training.adaptation.adapt import LowRank, Supervised, adapt, fold_unit, freeze
from helicon.training.adaptation.linear import fit_probe
from helicon.training.adaptation.recipe import FinetuneSettings, numbered
from helicon.training.finetune.result import FinetuneResult
from helicon.training.kinds.jobs import Job, Probed
from helicon.training.loop.fit import fit
from helicon.training.run.folder import RunFolder
from helicon.training.run.recipe import values_of


@dataclass(frozen=True)
class _Trained:
    """A model in the unit of training, and how it came about."""

    model: Supervised
    monitor: str
    steps: int
    best_step: int
    extra: dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What the seeds of a run share.

    Attributes:
        job: the data, and how to measure on it.
        source: the model to start from.
        options: of the verb, for the recipe.
        hashes: SHA-256 of the files, by what they are for.
        fabric: the processes.
        resume: whether runs that stand in their folders are continued.
    """

    job: Job
    source: HeliconPreTrainedModel
    options: Mapping[str, Any]
    hashes: Mapping[str, str]
    fabric: Fabric
    resume: bool

    def run(self, out: Path, settings: FinetuneSettings) -> FinetuneResult:
        """Train, measure and save with one seed."""
        began = time.monotonic()
        with self._open(out, settings) as folder:
            if folder.resumed and folder.results.exists():
                return FinetuneResult.read(out)
            if settings.is_probe and isinstance(self.job, Probed):
                trained = self._probe(self.job, folder, settings)
            else:
                trained = self._train(folder, settings)
            scores = self._measure(trained.model, folder, settings)
            if self.job.target.problem == "regression":
                fold_unit(trained.model, self.job.target)
            result = FinetuneResult(
                run=out,
                model=folder.model,
                problem=self.job.target.problem,
                names=self.job.target.names,
                monitor=trained.monitor,
                notes=tuple(self.notes(settings)),
                scores=scores,
                steps=trained.steps,
                best_step=trained.best_step,
                seconds=time.monotonic() - began,
            )
            self._save(trained, result, folder, settings)
        self.fabric.barrier()
        return result

    def run_seeds(self, out: Path, settings: FinetuneSettings) -> FinetuneResult:
        """Run every seed in a folder of its own, and put the results together."""
        began = time.monotonic()
        with self._open(out, settings) as folder:
            if folder.resumed and folder.results.exists():
                return FinetuneResult.read(out)
            seeds = range(settings.seed, settings.seed + settings.seeds)
            runs = tuple(self.run(out / f"seed-{s}", numbered(settings, s)) for s in seeds)
            seconds = time.monotonic() - began
            result = FinetuneResult.together(runs, out, folder.model, seconds)
            if self.fabric.is_global_zero:
                with write_aside(folder.model) as aside:
                    shutil.copytree(FinetuneResult.best_of(runs).model, aside)
            folder.write_results(self._results(result, settings))
        return result

    def say(self, settings: FinetuneSettings) -> None:
        """Print what was found and decided, from the first process."""
        if self.fabric.is_global_zero:
            print(*self.notes(settings), sep="\n", file=sys.stderr, flush=True)

    def notes(self, settings: FinetuneSettings) -> list[str]:
        """What was found in the data and decided, a line each."""
        lines = self.job.notes(settings)
        head = settings.head_settings
        pooled = f" over {head.pool} pooling" if self.job.kind == "sequence" else ""
        said = "pair head" if self.job.kind == "pair" else f"{head.head} head"
        if settings.is_probe and isinstance(self.job, Probed):
            of = " of random weights" if self._is_fresh(settings) else ""
            probe = f"linear probe{of}{pooled}; its penalty is chosen on validation data"
            same = "the seed decides nothing here: every run is the same, without a spread"
            return [*lines, probe, *([] if of or settings.seeds == 1 else [same])]
        task = self.job.task(settings)
        each = task.steps_per_epoch(self.fabric.world_size)
        loop = settings.loop(each, self.job.epochs(each))
        if loop.steps is None:
            length = f"{loop.minutes:g} minutes"
        else:
            length = f"{loop.steps:,} steps ({loop.steps / each:.3g} epochs)"
        return [
            *lines,
            f"train {self._what(settings)}: {length} of {self.job.batch_size(settings)} "
            f"at a time, learning rate {loop.lr:g} ({loop.schedule}), {precision_of(self.fabric)}",
            f"{said}{pooled}; the best {task.monitor} on validation data is kept",
        ]

    def _what(self, settings: FinetuneSettings) -> str:
        if settings.freeze:
            of = " of random weights" if self._is_fresh(settings) else ""
            return f"the head on a frozen backbone{of}"
        if settings.lora is not None:
            return f"the head and adapters of rank {settings.lora}"
        return "from random weights" if self._is_fresh(settings) else "all weights"

    def _is_fresh(self, settings: FinetuneSettings) -> bool:
        """Whether weights are drawn by the seed: nobody's, if the size has no published ones."""
        return settings.scratch or is_untrained(self.options["model"])

    def _base(self, settings: FinetuneSettings) -> str:
        """What the card names as the model that was adapted."""
        named = "" if settings.network is None else f" ({settings.network})"
        return f"{self.options['model']}{named}"

    def _open(self, out: Path, settings: FinetuneSettings) -> RunFolder:
        recipe = {
            "verb": "finetune",
            "unit": "bases" if self.source.backbone.alphabet is DNA else "residues",
            "recipe": {**self.options, **values_of(settings)},
            "data": dict(self.hashes),
            "versions": versions(),
            "taken": {"precision": precision_of(self.fabric)},
        }
        return RunFolder.open(out, recipe, resume=self.resume, rank=self.fabric.global_rank)

    def _train(self, folder: RunFolder, settings: FinetuneSettings) -> _Trained:
        task = self.job.task(settings)
        model = adapt(
            self.source,
            self.job.kind,
            self.job.target,
            settings.head_settings,
            scratch=self._is_fresh(settings),
            seed=settings.seed,
            class_weights=None if task.weights is None else task.weights.tolist(),
        )
        adapters = None
        if settings.freeze:
            freeze(model)
        elif settings.lora is not None:
            adapters = LowRank(model, settings.lora, settings.seed)
        each = task.steps_per_epoch(self.fabric.world_size)
        loop = settings.loop(each, self.job.epochs(each))
        done = fit(model, task, loop, folder, self.fabric)
        if adapters is not None:
            adapters.merge()
        fields = ("planned_steps", "letters", "waited_seconds", "precision")
        extra = {name: getattr(done, name) for name in fields}
        return _Trained(model, task.monitor, done.steps, done.best_step, extra)

    def _probe(self, job: Probed, folder: RunFolder, settings: FinetuneSettings) -> _Trained:
        task = job.task(settings)
        model = adapt(
            self.source,
            job.kind,
            job.target,
            settings.head_settings,
            scratch=self._is_fresh(settings),
            seed=settings.seed,
        )
        self.fabric.to_device(model)
        train, valid = job.examples(model, settings)
        probe = fit_probe(
            train,
            valid,
            job.target,
            balanced=settings.class_weights != "none",
            monitor=task.monitor,
        )
        probe.install(model)
        folder.append({"step": 0, "kind": "validation", **probe.valid.main})
        return _Trained(model, task.monitor, 0, 0, {"strength": probe.strength})

    def _measure(
        self, model: Supervised, folder: RunFolder, settings: FinetuneSettings
    ) -> dict[str, Scores]:
        """Measure a model on validation and test data, and write its predictions."""
        self.fabric.to_device(model)
        scores = {}
        for name, measured, frame in self.job.measure(model, settings):
            scores[name] = measured
            if frame is not None and self.fabric.is_global_zero:
                write_parquet(frame, folder.path / "predictions" / f"{name}.parquet")
        return scores

    def _save(
        self,
        trained: _Trained,
        result: FinetuneResult,
        folder: RunFolder,
        settings: FinetuneSettings,
    ) -> None:
        """Write the model with its card, and then the results: the mark of a finished run."""
        if self.fabric.is_global_zero:
            save(trained.model.cpu(), folder.model, self._card(result, folder, settings))
        parameters = sum(p.numel() for p in trained.model.parameters())
        extra = {"parameters": parameters, **trained.extra}
        folder.write_results({**self._results(result, settings), **extra})

    def _results(self, result: FinetuneResult, settings: FinetuneSettings) -> dict[str, Any]:
        origin = provenance(
            seed=settings.seed,
            data=self.hashes,
            seconds=result.seconds,
            accelerator=settings.accelerator,
        )
        return {"verb": "finetune", **result.as_dict(), **self.job.baseline(), "provenance": origin}

    def _card(
        self, result: FinetuneResult, folder: RunFolder, settings: FinetuneSettings
    ) -> ModelCard:
        data = Path(self.options["train"]).name
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
            base_model="" if self._is_fresh(settings) else self._base(settings),
        )
