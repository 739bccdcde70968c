"""`helicon probe`: what the features of frozen networks hold, however they are pooled.

For each network and pooling, features are computed once and a logistic or ridge regression on them
is fitted, whose penalty validation data chooses. Test data is looked at once, and chooses nothing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from helicon.machine.devices import start_processes
from helicon.machine.precision import Precision
from helicon.machine.provenance import provenance, versions
from helicon.metrics.scores import MONITORS, OTHER_MONITORS, choose_monitor
from helicon.metrics.targets import TaskName
from helicon.training.kinds.supervised import ClassWeights
from helicon.training.probe.compare import Probing, sources_of, weights_of
from helicon.training.probe.data import ProbeData
from helicon.training.probe.recipe import ProbeRecipe
from helicon.training.probe.result import ProbeResult
from helicon.training.run.folder import RunFolder
from helicon.training.run.recipe import values_of


def probe(
    model: str,
    train: Path,
    *,
    out: Path,
    target: str = "label",
    valid: Path | None = None,
    test: Path | None = None,
    sequence: str = "sequence",
    task: TaskName = "auto",
    pools: str | None = None,
    networks: str | None = None,
    untrained: bool = False,
    seeds: int = 5,
    seed: int = 0,
    validation_fraction: float = 0.1,
    monitor: str | None = None,
    class_weights: ClassWeights = "none",
    epochs: float | None = None,
    lr: float = 0.01,
    batch_size: int | None = None,
    cache: float = 4.0,
    precision: Precision = "float32",
    accelerator: str = "auto",
    resume: bool = False,
) -> ProbeResult:
    """Compare what frozen features tell of labels, by pooling and by network.

    A logistic or ridge regression on standardised features, whose penalty is chosen on validation
    data, is fitted for each pooling of each network. Features are computed once.

    Args:
        model: a run folder, a model folder, a Hugging Face id, or a named size.
        train: CSV, TSV, Parquet or FASTA of labelled sequences.
        out: the folder to write.
        target: the label column, or several with commas between.
        valid: table to choose penalties on; without it, every seed holds out a part of `train`.
        test: table to measure on, once.
        sequence: the column of sequences.
        task: what the labels are; `auto` looks at them.
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
        validation_fraction: share of the training rows to hold out, without a validation table.
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
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        resume: begin a probe that was stopped again, or read a finished one.

    Returns:
        What was measured.

    Raises:
        InputError: a file, a label or an option is wrong, or `out` holds something else.
    """
    recipe = ProbeRecipe.of(locals())
    began = time.monotonic()
    sources = sources_of(recipe)
    chosen = recipe.chosen_pools(sources[0].model)
    data = ProbeData.read(recipe, sources[0].model)
    problem = data.target.problem
    monitor = choose_monitor(recipe.monitor, MONITORS[problem], OTHER_MONITORS[problem])
    fabric = start_processes(
        accelerator=accelerator,
        devices=1,
        nodes=1,
        strategy="auto",
        precision=precision,
    )
    hashes = recipe.hashes() | weights_of(sources)
    about = {
        "verb": recipe.verb,
        "recipe": values_of(recipe),
        "data": hashes,
        "versions": versions(),
    }
    with RunFolder.open(Path(out), about, resume=resume) as run:
        if run.resumed and run.results.exists():
            return ProbeResult.read(run.path)
        work = Probing(recipe, data, chosen, monitor, fabric, run)
        notes = work.notes(sources)
        print(*notes, sep="\n", file=sys.stderr, flush=True)
        rows = tuple(work.compared(sources))
        seconds = time.monotonic() - began
        result = ProbeResult(
            run=run.path,
            model=model,
            problem=problem,
            names=data.target.names,
            monitor=monitor,
            examples=data.examples,
            notes=notes,
            rows=rows,
            seconds=seconds,
        )
        origin = provenance(seed=seed, data=hashes, seconds=seconds, accelerator=accelerator)
        run.write_results({"verb": recipe.verb, **result.as_dict(), "provenance": origin})
    return result
