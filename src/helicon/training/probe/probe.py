"""`helicon probe`: what the features of frozen networks hold, however they are pooled.

For each network and pooling, features are computed once and a logistic or ridge regression on them
is fitted, whose penalty validation data chooses. Test data is looked at once, and chooses nothing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from helicon.machine.devices import start_processes
from helicon.machine.provenance import provenance, versions
from helicon.metrics.measured import MONITORS, OTHER_MONITORS, choose_monitor
from helicon.training.kinds.sequences import Sequences
from helicon.training.probe.compare import Probing, sources_of, weights_of
from helicon.training.probe.data import ProbeData
from helicon.training.probe.recipe import Compare, ProbeMachine
from helicon.training.probe.result import ProbeResult
from helicon.training.run.folder import RunFolder
from helicon.training.run.options import Asked, names_of, verb


@verb(lambda: [Sequences])
def probe(
    model: str,
    data: Path | Sequences,
    *,
    out: Path,
    compare: Compare,
    machine: ProbeMachine,
    asked: Asked,
    resume: bool = False,
) -> ProbeResult:
    """Compare what frozen features tell of labels, by pooling and by network.

    A logistic or ridge regression on standardised features, whose penalty is chosen on validation
    data, is fitted for each pooling of each network. Features are computed once.

    Args:
        model: a run folder, a model folder, a Hugging Face id, or a named size.
        data: CSV, TSV, Parquet or FASTA of labelled sequences.
        out: the folder to write.
        compare: what is compared.
        machine: where it computes.
        asked: which options were given.
        resume: begin a probe that was stopped again, or read a finished one.

    Returns:
        What was measured.

    Raises:
        InputError: a file, a label or an option is wrong, or `out` holds something else.
    """
    began = time.monotonic()
    kind = data if isinstance(data, Sequences) else Sequences(Path(data), **asked.of_data)
    sources = sources_of(model, compare)
    chosen = compare.chosen_pools(sources[0].model)
    compare.check(model, chosen, asked)
    found = ProbeData.read(kind, compare, asked, sources[0].model)
    problem = found.target.problem
    monitor = choose_monitor(compare.monitor, MONITORS[problem], OTHER_MONITORS[problem])
    fabric = start_processes(
        accelerator=machine.accelerator,
        devices=1,
        nodes=1,
        strategy="auto",
        precision=machine.precision,
    )
    hashes = kind.hashes() | weights_of(sources)
    named = {n: getattr(g, n) for g in (kind, compare, machine) for n in names_of(g, "probe")}
    about = {
        "verb": "probe",
        "recipe": {"model": model, "data": kind.data, **named},
        "data": hashes,
        "versions": versions(),
    }
    with RunFolder.open(Path(out), about, resume=resume) as run:
        if run.resumed and run.results.exists():
            return ProbeResult.read(run.path)
        work = Probing(compare, machine, found, chosen, monitor, fabric, run)
        notes = work.notes(sources)
        print(*notes, sep="\n", file=sys.stderr, flush=True)
        rows = tuple(work.compared(sources))
        seconds = time.monotonic() - began
        result = ProbeResult(
            run=run.path,
            model=model,
            problem=problem,
            names=found.target.names,
            monitor=monitor,
            examples=found.examples,
            notes=notes,
            rows=rows,
            seconds=seconds,
        )
        origin = provenance(
            seed=compare.seed, data=hashes, seconds=seconds, accelerator=machine.accelerator
        )
        run.write_results({"verb": "probe", **result.as_dict(), "provenance": origin})
    return result
