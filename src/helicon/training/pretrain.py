"""Pretraining: a genome goes in, a language model comes out, with what it was measured to know."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from helicon.data.catalogue import DATASETS, find
from helicon.data.example import example_genome
from helicon.data.genome import Genome
from helicon.data.intervals import SPLITS, Intervals, read_bed, split_blocks, split_chromosomes
from helicon.data.sampling import Windows, WindowSampler
from helicon.errors import InputError
from helicon.files import existing_file, sha256
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, Metric, ModelCard, load, save
from helicon.models.registry import SIZES, configured
from helicon.objectives.masked_lm import Replacement
from helicon.training.baselines import MarkovScore, markov_baselines
from helicon.training.devices import Precision
from helicon.training.loop import FitResult, fit
from helicon.training.masked import MaskedTask, masked_scores, spread_windows
from helicon.training.provenance import provenance, versions
from helicon.training.recipe import Option, PretrainRecipe, to_toml, values_of
from helicon.training.run import RunFolder
from helicon.training.schedule import Schedule
from helicon.training.settings import launch

#: Steps of a run that states no length.
DEFAULT_STEPS = 10_000
#: Highest order of the Markov models that a run is compared with.
_ORDER = 5


@dataclass(frozen=True)
class PretrainResult:
    """What came of pretraining.

    Attributes:
        run: the run folder.
        model: the model folder.
        steps: optimiser steps done.
        best_step: the step whose weights were kept: the best on validation windows.
        validation: loss (nats a base), accuracy and perplexity on hidden bases; empty without a
            validation part.
        test: the same on test windows, looked at once; empty without a test part.
        baselines: Markov models fitted on the training part, scored on the test windows (the
            validation windows without a test part).
        parameters: trained values of the model.
        receptive_field: positions that an output depends on; `None` for the whole sequence.
        bases: bases that the model was trained on, repeats counted.
        split: bases in each part of the data.
        seconds: time in training, over all starts of the run.
        bases_per_second: `bases` over `seconds`, validation and checkpoints included.
        waited_seconds: of `seconds`, time in which training waited for data.
        precision: `float32` or `bfloat16`, as used.
        provenance: seed, hashes of the data, commit, versions, machine, time, memory.
    """

    run: Path
    model: Path
    steps: int
    best_step: int
    validation: dict[str, float]
    test: dict[str, float]
    baselines: list[MarkovScore]
    parameters: int
    receptive_field: int | None
    bases: int
    split: dict[str, int]
    seconds: float
    bases_per_second: float
    waited_seconds: float
    precision: str
    provenance: dict[str, Any]

    @property
    def summary(self) -> str:
        """A few lines for a person: the model's numbers above those of the Markov models."""
        rows = [(part, getattr(self, part)) for part in ("validation", "test")]
        lines = [
            f"{part:<17} accuracy {score['accuracy']:.4f}  perplexity {score['perplexity']:.4f}"
            for part, score in rows
            if score
        ]
        lines += [
            f"Markov, order {b.order:<3} accuracy {b.accuracy:.4f}  perplexity {b.perplexity:.4f}"
            for b in self.baselines
            if b.order in (0, _ORDER)
        ]
        lines.append(
            f"{self.steps:,} steps in {self.seconds:,.0f} s ({self.bases_per_second:,.0f} bases a "
            f"second, {self.precision}); the best was step {self.best_step:,}"
        )
        return "\n".join([*lines, f"model: {self.model}"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"run": str(self.run), "model": str(self.model)}

    @classmethod
    def read(cls, run: Path) -> PretrainResult:
        """Read the results of a finished run."""
        values = json.loads((run / "results.json").read_text(encoding="utf-8"))
        del values["verb"]
        baselines = [MarkovScore(**score) for score in values.pop("baselines")]
        places = {"run": run, "model": run / "model"}
        return cls(**(values | places), baselines=baselines)


def pretrain(
    data: str | Path,
    *,
    out: str | Path,
    model: str | Path = "convnova-small",
    backbone: dict[str, Option] | None = None,
    objective: Literal["masked-lm"] = "masked-lm",
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    length: int = 1024,
    batch_size: int = 32,
    accumulate: int = 1,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    schedule: Schedule = "cosine",
    warmup: float = 0.05,
    floor: float = 0.01,
    clip: float = 1.0,
    mask_rate: float = 0.10,
    replacement: Replacement = "mask",
    soft_weight: float = 1.0,
    intervals: str | Path | None = None,
    offsets: Literal["random", "head"] = "random",
    reverse_complement: bool = True,
    max_unknown: float = 0.5,
    validation: list[str] | None = None,
    test: list[str] | None = None,
    split_block: int = 50_000,
    validation_windows: int = 256,
    test_windows: int = 2048,
    eval_every: int | None = None,
    checkpoint_every: int | None = None,
    patience: int | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    accelerator: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    resume: bool = False,
) -> PretrainResult:
    """Train a language model on a genome, and measure it on parts that it has not seen.

    The genome is split by position: by the BED file `intervals`, else by the chromosomes named in
    `validation` and `test`, else in blocks of `split_block` bases (80, 10 and 10 %). The best
    weights on validation windows are kept; test windows are looked at once, at the end.

    Args:
        data: FASTA file (plain, gzip or bgzip), `example` for the embedded genome, or the name of
            a file of a data set, such as `hg38/hg38.ml.fa.gz`.
        out: the run folder to write.
        model: a named size to start from random weights, or a run folder, model folder or Hugging
            Face id whose training goes on.
        backbone: settings of the named size to change, by name.
        objective: what to train for.
        steps: optimiser steps; without it, `epochs` and `minutes`, 10,000.
        epochs: passes over the training part, in place of steps.
        minutes: time to train, in place of steps. After the first seconds it becomes a number of
            steps, which the run folder records.
        length: bases of a window.
        batch_size: windows in a batch, in each process.
        accumulate: batches in an optimiser step.
        lr: highest learning rate.
        weight_decay: of matrices and kernels; biases and normalisations are not decayed.
        schedule: how the rate falls after the warm-up.
        warmup: steps of warm-up, or below 1 the share of all steps.
        floor: last learning rate over the highest.
        clip: largest norm of the gradient; 0 for no limit.
        mask_rate: share of the bases to predict.
        replacement: what stands in their place: the mask symbol; in a tenth of the cases a random
            base and in a tenth the base itself; or what the published ConvNova code does, which
            also needs `backbone.mask_reads_as` to be N, and had a rate of 0.15.
        soft_weight: weight in the loss of lower-case bases (repeats), 0 to 1.
        intervals: BED file of the stretches to draw windows from, whose fourth column says `train`,
            `valid` or `test`.
        offsets: draw windows anywhere in the intervals, or take the first bases of each.
        reverse_complement: read each window from a strand drawn at random.
        max_unknown: share of N above which a window is drawn again.
        validation: chromosomes to choose the best weights on.
        test: chromosomes to measure on at the end.
        split_block: bases of a block, where the genome is split in blocks.
        validation_windows: windows of a validation, evenly spread over the part.
        test_windows: windows of the test, evenly spread over the part.
        eval_every: steps between validations; ten in the run if not given.
        checkpoint_every: steps between checkpoints; one with each validation if not given.
        patience: validations without improvement after which training stops; never if not given.
        seed: of weights, windows, masks and dropout.
        precision: `auto` is bfloat16 where the hardware multiplies in it, else float32.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on each machine, one a device.
        nodes: machines.
        strategy: `auto`, `ddp` or `fsdp`.
        resume: go on with the run in `out`, or start it if there is none.

    Returns:
        What was measured, and where the model is.

    Raises:
        InputError: a file or an option is wrong, or `out` holds something else.
        WorkError: the loss is not finite, or the disk is full.
    """
    recipe = PretrainRecipe.of(locals())
    began = time.monotonic()
    genome = Genome.open(_located(recipe.data))
    parts = _Parts(genome, recipe)
    network = _network(recipe)
    fabric = launch(recipe.loop(1))
    about = {
        "verb": recipe.verb,
        "recipe": values_of(recipe),
        "data": _hashes(genome, recipe),
        "split": parts.bases,
        "versions": versions(),
    }
    with RunFolder.open(Path(out), about, resume=resume, rank=fabric.global_rank) as run:
        if run.resumed and run.results.exists():
            return PretrainResult.read(run.path)
        task = MaskedTask(
            parts.train, recipe.masking, accumulate=accumulate, validation=parts.validation
        )
        fitted = fit(network, task, recipe.loop(_steps(recipe, parts.train)), run, fabric)
        return _finish(recipe, run, fabric, network, parts, fitted, time.monotonic() - began)


class _Parts:
    """The three parts of a genome, and the windows drawn from them."""

    def __init__(self, genome: Genome, recipe: PretrainRecipe):
        self.genome = genome
        self.recipe = recipe
        self.intervals = _split(genome, recipe)
        self.bases = {name: int(part.lengths.sum()) for name, part in self.intervals.items()}
        self.train = self._sampler("train")
        self.validation = self._windows("validation", recipe.validation_windows)
        self.test = self._windows("test", recipe.test_windows)

    def _sampler(self, part: str) -> WindowSampler:
        recipe = self.recipe
        return WindowSampler(
            self.genome,
            self.intervals[part],
            recipe.length,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            reverse_complement=recipe.reverse_complement,
            offsets=recipe.offsets,
            max_unknown=recipe.max_unknown,
            world=recipe.devices * recipe.nodes,
        )

    def _windows(self, part: str, most: int) -> tuple[WindowSampler, Windows] | None:
        """Windows to measure on; `None` where there is no such part, or all of it is unknown."""
        if part not in self.intervals or not len(self.intervals[part]):
            return None
        sampler = self._sampler(part)
        windows = spread_windows(sampler.tiles(), most)
        return (sampler, windows) if len(windows) else None


def _located(path: Path) -> Path:
    """The file that an option means: a path, the embedded example, or a catalogued file."""
    if path.exists():
        return path
    if str(path) == "example":
        return example_genome()
    return find(str(path)) if path.parts[:1] and path.parts[0] in DATASETS else path


def _split(genome: Genome, recipe: PretrainRecipe) -> dict[str, Intervals]:
    if recipe.intervals is not None:
        path = existing_file(_located(recipe.intervals), "BED file")
        found = read_bed(path, genome)
        if "train" not in found.split:
            raise InputError(f"{path}: no interval says `train` in its fourth column; add it")
        return {part: found.select(part) for part in SPLITS if part in found.split}
    if recipe.validation:
        return split_chromosomes(genome, recipe.validation, recipe.test or [])
    return split_blocks(genome, block=recipe.split_block)


def _hashes(genome: Genome, recipe: PretrainRecipe) -> dict[str, str]:
    """SHA-256 of everything that the run reads."""
    hashes = {"genome": genome.sha256}
    if recipe.intervals is not None:
        hashes["intervals"] = sha256(_located(recipe.intervals))
    for folder in (Path(recipe.model), Path(recipe.model) / "model"):
        if recipe.model not in SIZES and (folder / "model.safetensors").exists():
            hashes["model"] = sha256(folder / "model.safetensors")
    return hashes


def _network(recipe: PretrainRecipe) -> HeliconForMaskedLM:
    """The model to train, with weights that depend on the seed alone, or on what it goes on from.

    Raises:
        InputError: it is no language model, or does not fit the options.
    """
    torch.manual_seed(recipe.seed)
    if recipe.model in SIZES:
        config = configured(recipe.model, **(recipe.backbone or {}))
        network = HeliconForMaskedLM(HeliconConfig.of(config))
    elif recipe.backbone:
        raise InputError(f"backbone: the weights of {recipe.model} fix its settings; leave it out")
    else:
        loaded = load(recipe.model)
        if not isinstance(loaded, HeliconForMaskedLM):
            raise InputError(
                f"{recipe.model}: is a {type(loaded).__name__}, no language model; pretraining "
                "goes on from language models alone"
            )
        network = loaded
    reads = getattr(network.backbone.config, "mask_reads_as", None)
    if recipe.replacement == "official" and reads != "N":
        raise InputError(
            "replacement: `official` hides bases behind N; give backbone.mask_reads_as N too"
        )
    return network


def _steps(recipe: PretrainRecipe, train: WindowSampler) -> int:
    if recipe.epochs is None:
        return recipe.steps or DEFAULT_STEPS
    return max(1, round(recipe.epochs * train.steps_per_epoch / recipe.accumulate))


def _finish(
    recipe: PretrainRecipe,
    run: RunFolder,
    fabric: Fabric,
    network: HeliconForMaskedLM,
    parts: _Parts,
    fitted: FitResult,
    seconds: float,
) -> PretrainResult:
    """Measure the best weights, and write the model and the results."""
    held_out = parts.test or parts.validation
    scored = [] if held_out is None else held_out[0].evaluation_batches(held_out[1])
    test = masked_scores(network, *parts.test, recipe.mask_rate) if parts.test else {}
    hashes = _hashes(parts.genome, recipe)
    result = PretrainResult(
        run=run.path,
        model=run.model,
        steps=fitted.steps,
        best_step=fitted.best_step,
        validation=fitted.best,
        test=test,
        baselines=markov_baselines(parts.genome, parts.intervals["train"], scored, order=_ORDER),
        parameters=sum(p.numel() for p in network.parameters()),
        receptive_field=network.backbone.receptive_field,
        bases=fitted.bases,
        split=parts.bases,
        seconds=fitted.seconds,
        bases_per_second=fitted.bases / max(fitted.seconds, 1e-9),
        waited_seconds=fitted.waited_seconds,
        precision=fitted.precision,
        provenance=provenance(
            seed=recipe.seed, data=hashes, seconds=seconds, accelerator=recipe.accelerator
        ),
    )
    if fabric.is_global_zero:
        save(network, run.model, _card(recipe, parts, result))
        run.write_results({"verb": recipe.verb, **result.as_dict()})
    fabric.barrier()
    return result


def _card(recipe: PretrainRecipe, parts: _Parts, result: PretrainResult) -> ModelCard:
    """What the model card says, from the run alone."""
    genome = parts.genome.path.name
    measured = [("validation", result.validation), ("test", result.test)]
    base = "" if recipe.model in SIZES else recipe.model
    metrics = [
        Metric(f"masked {name}", score[name], genome, split)
        for split, score in measured
        for name in ("accuracy", "perplexity")
        if score
    ]
    return ModelCard(
        name=f"{recipe.model if not base else Path(base).name} pretrained on {genome}",
        summary=(
            "A language model of DNA, trained to predict hidden bases from those around. It gives "
            "features for other tasks, and probabilities of bases."
        ),
        data=(f"{genome} (SHA-256 {parts.genome.sha256}), {result.split['train']:,} bases",),
        steps=result.steps,
        metrics=tuple(metrics),
        recipe=to_toml(recipe),
        base_model=base,
    )
