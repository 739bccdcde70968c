"""`helicon mutants`: what a protein language model says of mutants, or of all single ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from helicon.alphabet import PROTEIN
from helicon.data.tables.store import OnError, SequenceStore
from helicon.errors import InputError
from helicon.files import sha256
from helicon.forward.memory import check_fits
from helicon.forward.network import Network
from helicon.inference.drawing.landscape import Shown
from helicon.inference.jobs import keyed
from helicon.inference.jobs.engine import Done, run
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.inputs import Input
from helicon.inference.jobs.job import Engine
from helicon.inference.mutants.job import (
    Asked,
    LandscapeJob,
    MutantsJob,
    Proteins,
    TableJob,
    certain,
)
from helicon.inference.mutants.scores import (
    FORMER,
    MARGINALS,
    STRATEGIES,
    Protocol,
    RankCorrelation,
    Strategy,
    masked_log_p,
    rank_correlation,
)
from helicon.inference.mutants.table import Mutants, read_mutants
from helicon.machine.precision import Precision

#: Positions on which the time of a long job is measured.
_TRIAL = 16
#: Proteins whose correlations are shown to a person.
_LISTED = 10


@dataclass(frozen=True)
class MutantsResult:
    """What `mutants` did.

    Attributes:
        done: the output, shards, time and memory; `letters` counts positions that were looked at.
        strategy: how mutants were scored.
        protocol: how several substitutions became one score.
        offset: the number of a wild type's first residue.
        softmax: the letters among which probabilities were taken.
        proteins: wild types.
        rows: mutants of the table, or `None` for a landscape.
        skipped: rows of the table that were left out.
        uncertain: positions of the wild types without a certain residue, which a landscape lacks.
        correlations: with what was measured, one a protein.
        plot: the figure, if one was asked for.
    """

    done: Done
    strategy: Strategy
    protocol: Protocol
    offset: int
    softmax: str
    proteins: int
    rows: int | None
    skipped: int
    uncertain: int
    correlations: tuple[RankCorrelation, ...]
    plot: Path | None

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        what = "every substitution" if self.rows is None else f"{self.rows:,} mutants"
        left = f", {self.skipped:,} rows left out" if self.skipped else ""
        how = f"{self.strategy}, {self.protocol}, softmax over {len(self.softmax)} letters"
        of = "1 wild type" if self.proteins == 1 else f"{self.proteins:,} wild types"
        lines = [f"{what} of {of}{left}: {how}"]
        if self.rows is None and self.uncertain:
            lines.append(f"{self.uncertain:,} positions without a certain residue are left out")
        for one in self.correlations[:_LISTED]:
            interval = "" if np.isnan(one.low) else f" ({one.low:.3f} to {one.high:.3f})"
            lines.append(f"{one.protein}: Spearman {one.spearman:.3f}{interval}, {one.rows:,} rows")
        if len(self.correlations) > 1:
            lines.append(f"mean over {len(self.correlations)} proteins: {self.spearman:.3f}")
        figure = [f"figure: {self.plot}"] if self.plot else []
        return "\n".join([*lines, *figure, self.done.summary])

    @property
    def spearman(self) -> float | None:
        """Mean over proteins, of those that have one; `None` without measurements."""
        known = [one.spearman for one in self.correlations if not np.isnan(one.spearman)]
        return float(np.mean(known)) if known else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "done"}
        own["correlations"] = [asdict(one) for one in self.correlations]
        return asdict(self.done) | own | {"spearman": self.spearman, "out": str(self.done.out)}


def mutants(
    model: str,
    table: Path | None = None,
    *,
    wild_type: Path,
    out: Path,
    landscape: bool = False,
    column: str | None = None,
    sequence: str | None = None,
    protein_column: str | None = None,
    offset: int = 1,
    strategy: str = "masked-marginal",
    protocol: Protocol = "sum",
    score: str | None = None,
    on_error: OnError = "fail",
    plot: Path | None = None,
    plot_region: str | None = None,
    devices: int = 1,
    engine: Literal["local", "ray"] = "local",
    accelerator: str = "auto",
    precision: Precision = "float32",
) -> MutantsResult:
    """Score mutants of proteins by a protein language model: those of a table, or all single ones.

    A score is the natural logarithm of how much more likely the model holds the mutant than the
    wild type: below zero for most, zero for the wild type itself. The table's columns are carried
    through.

    Args:
        model: a named size, a run folder, a model folder, or a Hugging Face id.
        table: CSV, TSV or Parquet file of mutants such as `A24G`, or `A24G:D30E` for several
            substitutions in one.
        wild_type: FASTA file of the wild types.
        out: `.parquet` or `.csv` file.
        landscape: instead of a table, score the 20 residues at every position.
        column: of mutants; `mutant`, `mutation` or `variant` if not given.
        sequence: column of whole changed sequences, which are read instead.
        protein_column: column of the wild types' names; needed if there are several.
        offset: the number that the table gives the first residue of a wild type: 0 for tables that
            count from zero, 24 for a wild type that begins at residue 24.
        strategy: `masked-marginal`, `wild-type-marginal`, `pseudo-perplexity` or
            `pseudo-likelihood`.
        protocol: `sum` over substitutions, or as ProteinGym does their mean (`proteingym`); of
            whole sequences, sum or mean over positions.
        score: column of measurements, with which scores are compared by rank.
        on_error: `skip` leaves out rows that do not fit their wild type, and counts them.
        plot: SVG file of a landscape's heat map.
        plot_region: what the figure shows, as START-END or NAME:START-END, numbered as the table.
        devices: how many GPUs, or on a CPU how many processes.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).

    Raises:
        InputError: a file, a row or an option is wrong, or does not fit the model.
        WorkError: the work stopped; it goes on with the same command.
    """
    out = Path(out)
    how = _strategy(strategy)
    _check(out, table, landscape, how, protocol, plot, plot_region)
    of_table = {
        "column": column, "sequence": sequence, "protein_column": protein_column, "score": score,
        "on_error": None if on_error == "fail" else on_error,
    }  # fmt: skip
    _check_of_table(of_table, landscape=landscape)
    where = Engine(devices, engine, accelerator, precision)
    files = JobFiles.of(out, (table, wild_type), beside=[plot])
    network = where.network(model)
    _check_model(network, model)
    proteins = Proteins.of(wild_type)
    store = proteins.open()
    if network.halo is None:
        check_fits(network, int(store.lengths.max()))
    asked = Asked(model, proteins, how, protocol, offset, out.suffix == ".csv")
    said = keyed.said_of(network, model, Input(store=store), "mutants") | {
        "coordinates": f"the first residue is number {offset}",
        "strategy": how,
        "protocol": protocol,
        "softmax": PROTEIN.letters,
    }
    rows = None
    shown = None if plot is None else Shown.of(store, offset, plot_region)
    job: MutantsJob
    if table is None:
        job = LandscapeJob(asked, tuple(said.items()))
    else:
        rows = read_mutants(
            table, store, column=column, sequence=sequence, protein_column=protein_column,
            offset=offset, on_error=on_error,
        )  # fmt: skip
        _say_skipped(rows)
        digest = sha256(table)
        said |= {"table": str(table), "table_sha256": digest}
        reading = tuple(map(str, (column, sequence, protein_column, on_error)))
        job = TableJob(asked, tuple(said.items()), rows, digest, reading)
        _check_columns(job, rows)
    measured = None if rows is None or score is None else rows.numbers(score)
    if how == "pseudo-perplexity":
        _say_time(network, job, store)
    done = run(job, files, where, network)
    correlations: tuple[RankCorrelation, ...] = ()
    if rows is not None and measured is not None:
        correlations = _correlations(store, rows, measured, _column(out, job.column))
    if plot is not None and shown is not None:
        shown.draw(out, job.column, Path(plot))
    return MutantsResult(
        done=done, strategy=how, protocol=protocol, offset=offset, softmax=PROTEIN.letters,
        proteins=len(store), rows=None if rows is None else len(rows),
        skipped=0 if rows is None else rows.skipped,
        uncertain=0 if rows is not None else store.total - (job.total() or 0),
        correlations=correlations, plot=None if plot is None else Path(plot),
    )  # fmt: skip


def _check(
    out: Path,
    table: Path | None,
    landscape: bool,
    strategy: str,
    protocol: str,
    plot: Path | None,
    plot_region: str | None,
) -> None:
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(f"out: {out} must end in .parquet or .csv")
    if protocol not in get_args(Protocol):
        raise InputError(f"protocol: {protocol!r} is not known; {', '.join(get_args(Protocol))}")
    if (table is None) != landscape:
        raise InputError(
            "table: leave it out for a landscape, which has every substitution"
            if landscape
            else "table: give a table of mutants, or --landscape for every substitution"
        )
    if landscape and strategy not in MARGINALS:
        raise InputError(f"strategy: a landscape has {' or '.join(MARGINALS)}, not {strategy}")
    if plot is not None and not landscape:
        raise InputError("plot: shows a landscape; leave the table out and add --landscape")
    if plot_region is not None and plot is None:
        raise InputError("plot_region: is that of a figure; name its file with --plot")


def _check_of_table(given: Mapping[str, str | None], *, landscape: bool) -> None:
    """Refuse options on how a table is read that have no effect."""
    named = [name for name, value in given.items() if value is not None]
    if landscape and named:
        raise InputError(f"{named[0]}: is of a table; leave it out for a landscape")
    if given["sequence"] is not None and given["column"] is not None:
        raise InputError(
            "column: is of mutants by name, but --sequence reads whole sequences; give one of them"
        )


def _strategy(name: str) -> Strategy:
    """A strategy by its name; former ones are read for one version more.

    Raises:
        InputError: there is none of that name.
    """
    if new := FORMER.get(name):
        print(f"mutants: strategy {name} is now called {new}", file=sys.stderr, flush=True)
        return new
    for strategy in STRATEGIES:
        if strategy == name:
            return strategy
    raise InputError(f"strategy: {name!r} is not known; {', '.join(STRATEGIES)}")


def _check_model(network: Network, model: str | Path) -> None:
    if network.alphabet != PROTEIN:
        raise InputError(
            f"{model}: reads DNA; score its changes with `helicon variants` or `helicon "
            "mutagenesis`"
        )
    if network.head_type != "language":
        raise InputError(
            f"{model}: is no language model, which alone says how likely a residue is; give the "
            "model that it was fine-tuned from"
        )


def _check_columns(job: MutantsJob, rows: Mutants) -> None:
    for name in (job.column, "pseudo-perplexity"):
        if name in rows.frame.columns:
            raise InputError(f"{rows.path}: has a column {name!r} already; rename it")


def _say_skipped(rows: Mutants) -> None:
    if rows.skipped:
        more = "; ..." if rows.skipped > len(rows.reasons) else ""
        print(
            f"mutants: {rows.path}: {rows.skipped:,} rows are left out: "
            f"{'; '.join(rows.reasons)}{more}",
            file=sys.stderr,
            flush=True,
        )


def _say_time(network: Network, job: MutantsJob, store: SequenceStore) -> None:
    """Say how long hiding every residue of every mutant will take, from a trial."""
    total = job.total() or 0
    longest = int(store.lengths.argmax())
    positions = certain(store, longest)[:_TRIAL]
    ids = store.sequence(longest)
    masked_log_p(network, ids, positions[:1])
    began = time.monotonic()
    masked_log_p(network, ids, positions)
    seconds = (time.monotonic() - began) / max(1, len(positions)) * total
    print(
        f"mutants: pseudo-perplexity hides every residue of every mutant, {total:,} in all: about "
        f"{_duration(seconds)} on one {network.device.type} (masked-marginal hides each "
        "substituted position once)",
        file=sys.stderr,
        flush=True,
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _column(out: Path, name: str) -> np.ndarray:
    """A column of scores of the finished output."""
    frame = pl.read_csv(out, columns=[name]) if out.suffix == ".csv" else pl.read_parquet(out)
    return frame[name].cast(pl.Float64).to_numpy()


def _correlations(
    store: SequenceStore, rows: Mutants, measured: np.ndarray, scores: np.ndarray
) -> tuple[RankCorrelation, ...]:
    found = []
    for protein in np.unique(rows.protein).tolist():
        own = rows.protein == protein
        found.append(rank_correlation(store.name(protein), measured[own], scores[own]))
    return tuple(found)
