"""`helicon mutagenesis`: what every substitution at every position does to a model's outputs.

The scores are exact: equal, up to rounding, to those of full passes over every changed sequence.
Only what a substitution changes is computed (`helicon.models.parts.substitutions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from helicon.alphabet import DNA, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions, read_bed
from helicon.data.tracks.bigwig import BigWigWriter
from helicon.errors import InputError
from helicon.files import sha256, write_aside
from helicon.forward.network import Network
from helicon.inference.drawing.logo import logo_svg
from helicon.inference.jobs.engine import Done, run, write_parquet
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.job import Engine, Shard
from helicon.inference.mutagenesis.attribution import Quantity, gradient, integrated_gradients
from helicon.inference.mutagenesis.effects import BASES, Effects, Wanted
from helicon.machine.precision import Precision
from helicon.models.parts.substitutions import Where

Method = Literal["substitutions", "gradient", "integrated-gradients"]
Summary = Literal["mean", "max"]

#: Positions of a shard. Their context and what is kept of the reference's pass take some 100 MB.
PIECE = 4096
#: Positions that a figure can show.
FIGURE = 400

#: For each base the three others.
ALTERNATIVES = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], dtype=np.uint8)
#: Points on the way of integrated gradients.
STEPS = 32
_BIGWIG = (".bw", ".bigwig")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Locus:
    """Positions of a chromosome to substitute.

    Attributes:
        chrom: index of the chromosome.
        start: first position, 0-based.
        end: behind the last position.
        first: where the sequence that the network may see begins.
        last: behind its end.
    """

    chrom: int
    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class MutagenesisResult:
    """What `mutagenesis` did.

    Attributes:
        done: the output, shards, time and memory.
        scores: columns of the output.
        plot: the figure, if one was asked for.
    """

    done: Done
    scores: tuple[str, ...]
    plot: Path | None

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        figure = [f"figure: {self.plot}"] if self.plot else []
        return "\n".join([f"scores: {', '.join(self.scores)}", *figure, self.done.summary])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        done = {f.name: getattr(self.done, f.name) for f in fields(self.done)}
        plot = None if self.plot is None else str(self.plot)
        return done | {"out": str(self.done.out), "scores": list(self.scores), "plot": plot}


def mutagenesis(
    model: str,
    data: Path,
    *,
    out: Path,
    reference: Path | None = None,
    score: list[str] | None = None,
    output: list[str] | None = None,
    over: Where = "affected",
    method: Method = "substitutions",
    steps: int | None = None,
    both_strands: bool = False,
    summary: Summary | None = None,
    plot: Path | None = None,
    plot_region: str | None = None,
    devices: int = 1,
    engine: Literal["local", "ray"] = "local",
    accelerator: str = "auto",
    precision: Precision = "float32",
) -> MutagenesisResult:
    """Score every substitution at every position of sequences, exactly.

    A language model gives `masked` (log-probability of the alternative less that of the reference
    base, while the position is hidden), `effect` (change of the log-probability of the bases
    around, summed) or `likelihood` (`effect` and the position itself). A model with labels gives
    `logit` or `probability`, a regression `value`: the change, for each label. Any model gives
    `distance`, the mean distance that affected features move. Positions without a known base are
    left out.

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        data: FASTA file of sequences; with `reference`, a BED file of regions of that genome.
        out: `.parquet`: a row a substitution, with 0-based positions; or `.bw`: one number a
            position.
        reference: FASTA file of the genome that `data` has regions of.
        score: what to compute; repeat it for several; the first that the model gives if not given.
        output: a label of the model; repeat it for several; all if not given.
        over: model of positions: sum its outputs over all `affected` positions, or look at the
            `substituted` one alone.
        method: `substitutions`; or the first-order guess from the `gradient`, or from
            `integrated-gradients`, for the price of a few passes.
        steps: integrated gradients: points on the way from the baseline; 32 if not given.
        both_strands: average over the two strands.
        summary: bigWig: `mean` (if not given) or `max` of the three absolute scores of a position.
        plot: SVG file of a sequence logo and a map of all substitutions.
        plot_region: what the figure shows, as NAME:START-END (counted from 1, both included).
        devices: how many GPUs, or on a CPU how many processes.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products, `float32` or `bfloat16`, in which most effects are lost
            (features differ by a hundredth). Gradients are always float32.

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
    """
    where = Engine(devices, engine, accelerator, precision)
    out = Path(out)
    files = JobFiles.of(out, (data, reference), beside=[plot])
    network = where.network(model)
    _check_options(out, method, steps, summary, plot, plot_region)
    wanted = _wanted(network, model, score or (), output or (), over, method)
    job = MutagenesisJob(
        model=model,
        genome=Path(data if reference is None else reference),
        regions=None if reference is None else Path(data),
        wanted=wanted,
        method=method,
        steps=steps or STEPS,
        both_strands=both_strands,
        summary=(summary or "mean") if _is_bigwig(out, wanted.columns(network)) else None,
        local=network.head_type != "sequence" and network.halo is not None,
        columns=wanted.columns(network),
    )
    shown = None if plot is None else job.shown(plot_region)
    done = run(job, files, where, network)
    if plot is not None and shown is not None:
        _draw(job, network, shown, Path(plot))
    return MutagenesisResult(done, job.columns, None if plot is None else Path(plot))


def _check_options(
    out: Path,
    method: Method,
    steps: int | None,
    summary: Summary | None,
    plot: Path | None,
    plot_region: str | None,
) -> None:
    """Refuse options that would change nothing."""
    if steps is not None and method != "integrated-gradients":
        raise InputError("steps: are those of integrated-gradients; leave them out")
    if steps is not None and steps < 1:
        raise InputError(f"steps: must be at least 1, not {steps}")
    if summary is not None and out.suffix.lower() not in _BIGWIG:
        raise InputError("summary: is of a bigWig; name a .bw file, or leave it out")
    if plot_region is not None and plot is None:
        raise InputError("plot_region: is of a figure; name one with plot, or leave it out")


def _wanted(
    network: Network,
    name: str | Path,
    score: Sequence[str],
    output: Sequence[str],
    over: Where,
    method: Method,
) -> Wanted:
    if network.alphabet != DNA:
        raise InputError(
            f"{name}: reads proteins, and mutagenesis is of DNA; `helicon mutants` scores every "
            "substitution of a protein (--landscape) by a language model"
        )
    if method == "substitutions":
        if network.pools_cls and (not score or set(score) - {"distance", "embedding"}):
            raise InputError(
                f"{name}: pools CLS tokens, which every substitution changes; choose a gradient "
                "as method, or the score distance"
            )
        return Wanted.of(network, score, output, over)
    if network.head_type == "bare":
        raise InputError(f"{name}: has no head whose gradient could be taken")
    linear = "likelihood"
    if network.head_type != "language":
        linear = "value" if network.problem == "regression" else "logit"
    if set(score) - {linear}:
        raise InputError(f"score: gradients of this model are those of {linear}; leave it out")
    if over != "affected":
        raise InputError("over: gradients are those of all affected positions; leave it out")
    return Wanted.of(network, [linear], output, over)


def _is_bigwig(out: Path, columns: Sequence[str]) -> bool:
    suffix = out.suffix.lower()
    if suffix not in (*_BIGWIG, *_PARQUET):
        raise InputError(f"out: {out} must end in .parquet or .bw")
    if suffix in _BIGWIG and len(columns) > 1:
        raise InputError(
            f"out: {out}: a bigWig holds one score, not {', '.join(columns)}; choose with score "
            "and output, or write .parquet"
        )
    return suffix in _BIGWIG


@dataclass(frozen=True)
class MutagenesisJob:
    """Score substitutions; for `engine.run`.

    Attributes:
        model: what `Network.open` takes.
        genome: FASTA file.
        regions: BED file, or `None` for all sequences.
        wanted: the scores.
        method: how they are computed.
        steps: see `mutagenesis`.
        both_strands: average the two strands.
        summary: of a bigWig; `None` for Parquet.
        local: whether the network sees what is around a region; if not, the region is all it sees.
        columns: names of the scores.
    """

    model: str | Path
    genome: Path
    regions: Path | None
    wanted: Wanted
    method: Method
    steps: int
    both_strands: bool
    summary: Summary | None
    local: bool
    columns: tuple[str, ...]
    verb: str = "mutagenesis"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        return {
            "method": self.method,
            "steps": self.steps,
            "both_strands": self.both_strands,
            "summary": self.summary,
            "columns": self.columns,
            "over": self.wanted.where,
            "genome": Genome.open(self.genome).sha256,
            "regions": None if self.regions is None else sha256(self.regions),
        }

    def total(self) -> int:
        """Positions of all regions."""
        return int(self.stretches(Genome.open(self.genome)).lengths.sum())

    def shards(self) -> Iterator[Shard]:
        """Pieces of some thousand positions together."""
        found: list[Locus] = []
        size = 0
        for piece in self._pieces(Genome.open(self.genome)):
            found.append(piece)
            size += piece.end - piece.start
            if size >= PIECE:
                yield Shard(tuple(found), size)
                found, size = [], 0
        if found:
            yield Shard(tuple(found), size)

    def worker(self, network: Network) -> Callable[[tuple[Locus, ...]], pa.Table]:
        """Rows of some pieces, in order."""
        genome = Genome.open(self.genome)
        score = _scorer(self, network)

        def work(pieces: tuple[Locus, ...]) -> pa.Table:
            tables = [_rows(genome, piece, network, score, self.columns) for piece in pieces]
            return pa.concat_tables(tables)

        return work

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write Parquet, or a bigWig."""
        if self.summary is None:
            notes = {"helicon": "mutagenesis", "method": self.method, "model": str(self.model)}
            write_parquet(parts, aside, _schema(self.columns), notes)
            return
        genome = Genome.open(self.genome)
        with BigWigWriter(aside, genome.names, genome.lengths) as writer:
            for shard, table in zip(self.shards(), parts, strict=True):
                name, position = table["name"].to_numpy(), table["position"].to_numpy()
                scores = np.abs(table[self.columns[0]].to_numpy()).reshape(-1, 3)
                values = scores.mean(1) if self.summary == "mean" else scores.max(1)
                for piece in shard.payload:
                    inside = (position >= piece.start) & (position < piece.end)
                    inside = (inside & (name == genome.names[piece.chrom]))[::3]
                    dense = np.full(piece.end - piece.start, np.nan, dtype=np.float32)
                    dense[position[::3][inside] - piece.start] = values[inside]
                    writer.add(piece.chrom, piece.start, dense)

    def stretches(self, genome: Genome) -> Intervals:
        """The regions in the order of the genome.

        Raises:
            InputError: regions overlap, where each is all that the network sees.
        """
        found = merged_regions(self.regions, genome)
        if self.regions is not None and not self.local:
            rows = read_bed(self.regions, genome)
            found = rows.take(np.lexsort((rows.start, rows.chrom)))
            same = found.chrom[1:] == found.chrom[:-1]
            bad = np.flatnonzero(same & (found.start[1:] < found.end[:-1]))
            if len(bad):
                one = found[int(bad[0]) + 1]
                raise InputError(
                    f"{self.regions}: {one.chrom}:{one.start}-{one.end} overlaps another region, "
                    "and this model scores each by itself; put them in two files"
                )
        return found

    def shown(self, region: str | None) -> Locus:
        """What a figure shows.

        Raises:
            InputError: there is no such region, or it is too long.
        """
        genome = Genome.open(self.genome)
        found = self.stretches(genome)
        if region is None:
            if len(found) != 1 or found.lengths[0] > FIGURE:
                raise InputError(
                    f"plot: a figure shows {FIGURE} positions at most; choose some with "
                    "plot_region, as NAME:START-END"
                )
            return next(self._pieces(genome))
        chrom, start, end = _parsed(region, genome)
        inside = (found.chrom == chrom) & (found.start <= start) & (end <= found.end)
        if not inside.any():
            raise InputError(f"plot_region: {region} does not lie in what is computed")
        row = int(np.flatnonzero(inside)[0])
        return Locus(chrom, start, end, *self._context(genome, found, row))

    def _pieces(self, genome: Genome) -> Iterator[Locus]:
        found = self.stretches(genome)
        for row in range(len(found)):
            chrom, start, end = int(found.chrom[row]), int(found.start[row]), int(found.end[row])
            context = self._context(genome, found, row)
            for first in range(start, end, PIECE):
                yield Locus(chrom, first, min(first + PIECE, end), *context)

    def _context(self, genome: Genome, found: Intervals, row: int) -> tuple[int, int]:
        if self.local:
            return 0, int(genome.lengths[found.chrom[row]])
        return int(found.start[row]), int(found.end[row])


Score = Callable[[Ids, NDArray[np.int64], Ids, slice], NDArray[np.float32]]


def _scorer(job: MutagenesisJob, network: Network) -> Score:
    """Scores (n, columns) of substitutions in token ids (W,), on one strand or both.

    Besides ids, positions and alternatives (n,) it takes the positions whose outputs count, which
    gradients must know.
    """
    forward = _one_strand(job, network, job.wanted)
    if not job.both_strands:
        return forward
    backward = _one_strand(job, network, job.wanted.opposite(network))

    def both(ids: Ids, at: NDArray[np.int64], new: Ids, kept: slice) -> NDArray[np.float32]:
        size = len(ids)
        turned = DNA.reverse_complement(ids), size - 1 - at, DNA.complement_table[new]
        found = backward(*turned, slice(size - kept.stop, size - kept.start))
        return (forward(ids, at, new, kept) + found) * np.float32(0.5)

    return both


def _one_strand(job: MutagenesisJob, network: Network, wanted: Wanted) -> Score:
    if job.method == "substitutions":
        effects = Effects(network, wanted)
        return lambda ids, at, new, kept: effects.of(ids, at, new)

    def linear(ids: Ids, at: NDArray[np.int64], new: Ids, kept: slice) -> NDArray[np.float32]:
        columns = []
        for output in wanted.outputs or (None,):
            quantity = Quantity(output, kept)
            if job.method == "gradient":
                slope = gradient(network, ids, quantity)
            else:
                slope = integrated_gradients(network, ids, quantity, steps=job.steps).gradient
            columns.append(slope[at, new] - slope[at, ids[at]])
        return np.stack(columns, axis=1)

    return linear


def _rows(
    genome: Genome, piece: Locus, network: Network, score: Score, columns: Sequence[str]
) -> pa.Table:
    """All substitutions of a piece, three a position."""
    halo = piece.last - piece.first if network.halo is None else network.halo
    if network.head_type == "sequence":
        halo = piece.last - piece.first
    # Affected are positions up to a halo away, and what these see lies up to two away.
    first, last = max(piece.first, piece.start - 2 * halo), min(piece.last, piece.end + 2 * halo)
    cell = network.model.backbone.cell  # the grid of either strand begins at its own end
    first -= (first - piece.first) % cell
    last += (piece.last - last) % cell
    ids = genome.fetch(piece.chrom, first, last)
    here = np.arange(piece.start - first, piece.end - first)
    here = here[ids[here] < BASES]
    at, new = np.repeat(here, 3), ALTERNATIVES[ids[here]].reshape(-1)
    counted = slice(max(0, piece.start - halo - first), min(last, piece.end + halo) - first)
    found = score(ids, at, new, counted) if len(at) else np.empty((0, len(columns)), np.float32)
    letters = np.array(list(DNA.real))
    name = pa.array([genome.names[piece.chrom]]).dictionary_encode()
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(at), np.int32)), name.dictionary)
    table = {
        "name": names.cast(pa.string()),
        "position": pa.array(at + first, pa.int64()),
        "reference": pa.array(letters[ids[at]], pa.string()),
        "alternative": pa.array(letters[new], pa.string()),
    }
    table |= {column: pa.array(found[:, k]) for k, column in enumerate(columns)}
    return pa.table(table, schema=_schema(columns))


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema(
        [
            ("name", pa.string()),
            ("position", pa.int64()),
            ("reference", pa.string()),
            ("alternative", pa.string()),
            *((column, pa.float32()) for column in columns),
        ]
    )


def _parsed(region: str, genome: Genome) -> tuple[int, int, int]:
    """Chromosome, start and end (0-based, half-open) of NAME:START-END."""
    name, _, span = region.rpartition(":")
    first, _, last = span.replace(",", "").partition("-")
    if not (name and first.isdecimal() and last.isdecimal()):
        raise InputError(f"plot_region: {region!r} is not NAME:START-END, as in chr1:1,001-1,200")
    chrom, start, end = genome.index(name), int(first) - 1, int(last)
    if not 0 <= start < end <= genome.lengths[chrom]:
        raise InputError(
            f"plot_region: {region}: {name} has the positions 1 to {genome.lengths[chrom]:,}"
        )
    if end - start > FIGURE:
        raise InputError(
            f"plot_region: {region}: {end - start:,} positions are too many for a figure; choose "
            f"{FIGURE} at most"
        )
    return chrom, start, end


def _draw(job: MutagenesisJob, network: Network, piece: Locus, path: Path) -> None:
    """Write the figure of the first score."""
    genome = Genome.open(job.genome)
    table = _rows(genome, piece, network, _scorer(job, network), job.columns)
    ids = genome.fetch(piece.chrom, piece.start, piece.end)
    changes = np.full((len(ids), BASES), np.nan, dtype=np.float32)
    at = table["position"].to_numpy() - piece.start
    new = [DNA.letters.index(letter) for letter in table["alternative"].to_pylist()]
    changes[at, new] = table[job.columns[0]].to_numpy()
    title = f"{genome.names[piece.chrom]}:{piece.start + 1:,}-{piece.end:,} {job.columns[0]}"
    with write_aside(path) as aside:
        aside.write_text(logo_svg(ids, changes, start=piece.start, title=title))
