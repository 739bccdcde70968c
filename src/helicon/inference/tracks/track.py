"""`helicon track`: what a model says of every base of a genome, as bigWig or bedGraph files.

A model of positions gives a track for each of its classes, labels or values. A language model is
asked for bases that it cannot see: every `mask_every`-th base is hidden at once, in as many passes,
so that each base is hidden exactly once, always beside the same others wherever tiles begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import DNA, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions
from helicon.data.tracks.bedgraph import BedGraphWriter
from helicon.data.tracks.bigwig import BigWigWriter
from helicon.errors import InputError
from helicon.files import sha256
from helicon.forward.memory import describe
from helicon.forward.network import Network
from helicon.forward.tiles import Tiling, outputs_over, over_tiles
from helicon.inference.jobs.engine import Done, run
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.job import Engine, Shard
from helicon.inference.jobs.stretches import (
    Span,
    intervals_of,
    placed,
    shards_of,
)
from helicon.machine.precision import Precision

#: What a language model can be asked for.
QUANTITIES = ("probability", "log-likelihood", "entropy")
TrackFormat = Literal["bigwig", "bedgraph"]
_FORMATS: dict[str, TrackFormat] = {
    ".bw": "bigwig", ".bigwig": "bigwig",
    ".bedgraph": "bedgraph", ".bdg": "bedgraph", ".bg": "bedgraph",
}  # fmt: skip
_LETTERS = len(DNA.real)
#: A language model sees all but every so many-th base.
EVERY = 10

Values = NDArray[np.float32]


@dataclass(frozen=True)
class TrackResult:
    """What `track` did.

    Attributes:
        files: the file of each channel.
        done: shards, time and memory.
    """

    files: dict[str, Path]
    done: Done

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        lines = [f"{channel:<24}{path}" for channel, path in self.files.items()]
        return "\n".join([*lines, self.done.summary])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        files = {channel: str(path) for channel, path in self.files.items()}
        done = {f.name: getattr(self.done, f.name) for f in fields(self.done)}
        return {"files": files} | done | {"out": str(self.done.out)}


def track(
    model: str,
    genome: Path,
    *,
    out: Path,
    channel: list[str] | None = None,
    regions: Path | None = None,
    both_strands: bool = False,
    mask_every: int | None = None,
    window: int | None = None,
    overlap: int | None = None,
    devices: int = 1,
    engine: Literal["local", "ray"] = "local",
    accelerator: str = "auto",
    precision: Precision = "float32",
) -> TrackResult:
    """Write what a model says of every base of a genome, as bigWig or bedGraph.

    A model of positions gives the probability of each class or label, or its values. A language
    model gives, for every base while it is hidden: `probability` of the base that is there;
    `log-likelihood`, its natural logarithm; `entropy` of the distribution over the four bases, in
    bits. Bases that are `N` get no value.

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        genome: FASTA file.
        out: `.bw` or `.bedgraph[.gz]` file for one channel; a folder for several, which gets a
            bigWig for each.
        channel: a class, label, value or quantity; repeat it for several; all if not given.
        regions: BED file of stretches to compute; those that overlap are joined; the whole genome
            if not given.
        both_strands: average over the two strands.
        mask_every: language model: hide every so many-th base at once; the tenth if not given.
        window: letters that the network reads at once; chosen for the device if not given.
        overlap: letters that windows share, for a network without a finite receptive field.
        devices: how many GPUs, or on a CPU how many processes.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
    """
    where = Engine(devices, engine, accelerator, precision)
    out = Path(out)
    files = JobFiles.of(
        out, (genome, regions), folder=not _FORMATS.keys() & {s.lower() for s in out.suffixes}
    )
    network = where.network(model)
    channels = choose_channels(network, model, channel)
    form = _format(out, channels)
    job = TrackJob(
        model=model,
        genome=Path(genome),
        channels=channels,
        form=form,
        compressed=out.suffix.lower() == ".gz",
        folder=form is None,
        regions=None if regions is None else Path(regions),
        both_strands=both_strands,
        mask_every=_checked_comb(network, mask_every),
        window=window,
        overlap=overlap,
    )
    Tiling.of(network, 1, window=window, overlap=overlap)
    describe(job.verb, network, job.total())
    done = run(job, files, where, network)
    return TrackResult(
        {name: out / _file_name(name) if job.folder else out for name in channels}, done
    )


def choose_channels(
    network: Network, name: str | Path, asked: Sequence[str] | None
) -> tuple[str, ...]:
    """The channels asked for, or all that the model has.

    Raises:
        InputError: it has no such channel, or gives nothing for every base of a genome.
    """
    if network.alphabet != DNA or network.head_type not in ("language", "token"):
        what = "reads no DNA" if network.alphabet != DNA else "says nothing of single bases"
        raise InputError(
            f"{name}: {what}; a track needs a DNA language model or one that labels positions"
        )
    known = QUANTITIES if network.head_type == "language" else network.labels
    for one in asked or ():
        if one not in known:
            raise InputError(f"channel: {one!r} is none of this model's: {', '.join(known)}")
    return tuple(dict.fromkeys(asked)) if asked else known


def _format(out: Path, channels: Sequence[str]) -> TrackFormat | None:
    """Format of one file, `None` for a folder of bigWigs.

    Raises:
        InputError: the name does not say it, several channels would go to one file, or the folder
            holds something else.
    """
    suffixes = [s.lower() for s in out.suffixes]
    packed = suffixes[-1:] == [".gz"]
    form = _FORMATS.get(suffixes[-1 - packed]) if len(suffixes) > packed else None
    if form is None and (packed or (suffixes and not out.is_dir())):
        raise InputError(f"out: {out} must end in .bw, .bedgraph or .bedgraph.gz, or be a folder")
    if packed and form == "bigwig":
        raise InputError(f"out: {out}: a bigWig is compressed inside; leave out .gz")
    if form and len(channels) > 1:
        raise InputError(
            f"channel: choose one of {', '.join(channels)} for a single file, or name a folder"
        )
    if form is None and out.is_dir():
        ours = {_file_name(channel) for channel in channels}
        others = sorted({path.name for path in out.iterdir()} - ours)
        if others:
            raise InputError(f"out: {out} holds {others[0]}; choose a new or empty folder")
    return form


def _file_name(channel: str) -> str:
    return f"{quote(channel, safe=' +')}.bw"


def _checked_comb(network: Network, mask_every: int | None) -> int:
    if mask_every is None:
        return EVERY
    if network.head_type != "language":
        raise InputError("mask_every: this model predicts without hiding bases; leave it out")
    if mask_every < 2:
        raise InputError(f"mask_every: must be at least 2, not {mask_every}")
    return mask_every


@dataclass(frozen=True)
class TrackJob:
    """Compute channels of a genome; for `engine.run`.

    Attributes:
        model: what `Network.open` takes.
        genome: FASTA file.
        channels: what to compute.
        form: of the output; `None` for a folder of bigWigs.
        compressed: whether a bedGraph is gzip.
        folder: whether the output is a folder.
        regions: BED file, or `None` for the whole genome.
        both_strands: average the two strands.
        mask_every: see `track`.
        window: see `Tiling.of`.
        overlap: see there.
    """

    model: str | Path
    genome: Path
    channels: tuple[str, ...]
    form: TrackFormat | None = "bigwig"
    compressed: bool = False
    folder: bool = False
    regions: Path | None = None
    both_strands: bool = False
    mask_every: int = EVERY
    window: int | None = None
    overlap: int | None = None
    verb: str = "track"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        names = (
            "channels",
            "form",
            "compressed",
            "both_strands",
            "mask_every",
            "window",
            "overlap",
        )
        return {name: getattr(self, name) for name in names} | {
            "genome": Genome.open(self.genome).sha256,
            "regions": None if self.regions is None else sha256(self.regions),
        }

    def total(self) -> int:
        """Bases to look at."""
        return int(merged_regions(self.regions, Genome.open(self.genome)).lengths.sum())

    def shards(self) -> Iterator[Shard]:
        """Pieces of the stretches."""
        return shards_of(merged_regions(self.regions, Genome.open(self.genome)))

    def worker(self, network: Network) -> Callable[[Sequence[Span]], pa.Table]:
        """Values of pieces: a float32 column a channel, NaN at `N`."""
        genome = Genome.open(self.genome)
        language = network.head_type == "language"

        def work(pieces: Sequence[Span]) -> pa.Table:
            stretches = intervals_of(pieces, genome)
            ids = np.concatenate([genome.fetch(*piece) for piece in pieces])
            if language:
                found = self._quantities(network, genome, stretches, ids)
            else:
                found = self._outputs(network, genome, stretches)
            for values in found.values():
                values[ids == DNA.unknown_id] = np.nan
            return pa.table(found)

        return work

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write all files side by side."""
        genome = Genome.open(self.genome)
        if self.folder:
            aside.mkdir()
        with ExitStack() as stack:
            writers = {}
            for name in self.channels:
                path = aside / _file_name(name) if self.folder else aside
                writers[name] = self._writer(path, genome)
                stack.enter_context(writers[name])
            for chrom, start, table in placed(self.shards(), parts):
                for name, writer in writers.items():
                    writer.add(chrom, start, table[name].to_numpy())

    def _writer(self, path: Path, genome: Genome) -> BigWigWriter | BedGraphWriter:
        if self.form == "bedgraph":
            return BedGraphWriter(path, genome.names, compressed=self.compressed)
        return BigWigWriter(path, genome.names, genome.lengths)

    def _outputs(self, network: Network, genome: Genome, stretches: Intervals) -> dict[str, Values]:
        """Probabilities of classes or labels, or values."""
        pieces = outputs_over(
            network, genome, stretches, both_strands=self.both_strands,
            window=self.window, overlap=self.overlap,
        )  # fmt: skip
        whole = torch.cat([piece.values.cpu() for piece in pieces])
        if network.problem == "single_label":
            whole = whole.softmax(-1)
        elif network.problem == "multi_label":
            whole = whole.sigmoid()
        columns = [network.labels.index(name) for name in self.channels]
        return {
            name: np.ascontiguousarray(whole[:, k].numpy())
            for name, k in zip(self.channels, columns, strict=True)
        }

    def _quantities(
        self, network: Network, genome: Genome, stretches: Intervals, ids: Ids
    ) -> dict[str, Values]:
        """What a language model says of bases that it cannot see."""
        log_p = torch.cat(list(self._masked(network, genome, stretches))).log_softmax(-1)
        base = torch.from_numpy(np.minimum(ids, _LETTERS - 1)).long()
        likelihood = log_p.gather(1, base[:, None])[:, 0]
        made: dict[str, Callable[[], Tensor]] = {
            "probability": lambda: likelihood.exp(),
            "log-likelihood": lambda: likelihood,
            "entropy": lambda: -(log_p.exp() * log_p).sum(1) / np.log(2),
        }
        return {name: made[name]().float().numpy().copy() for name in self.channels}

    def _masked(self, network: Network, genome: Genome, stretches: Intervals) -> Iterator[Tensor]:
        """Log-probabilities of the four bases at every position while it is hidden, in pieces."""
        longest = int(stretches.lengths.max())
        tiling = Tiling.of(network, longest, window=self.window, overlap=self.overlap)

        def work(tokens: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Tensor:
            return network.outputs(network.features(tokens, mask), mask)

        columns = torch.from_numpy(network.opposite).to(network.device)

        def opposite(values: Tensor) -> Tensor:
            return values[..., columns]

        passes = [
            over_tiles(
                Comb(genome, self.mask_every, offset), stretches, tiling, work,
                opposite=opposite if self.both_strands else None,
            )
            for offset in range(self.mask_every)
        ]  # fmt: skip
        for pieces in zip(*passes, strict=True):
            place = np.arange(len(pieces[0].values)) + pieces[0].start
            found = torch.empty((len(place), _LETTERS))
            for offset, piece in enumerate(pieces):
                here = torch.from_numpy(place % self.mask_every == offset)
                found[here] = piece.values.cpu()[here, :_LETTERS]
            yield found


@dataclass(frozen=True, eq=False)
class Comb:
    """A genome of which every so many-th base is hidden.

    Attributes:
        genome: the genome.
        every: distance between hidden bases.
        offset: position in each chromosome of the first of them.
    """

    genome: Genome
    every: int
    offset: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bases of each chromosome."""
        return self.genome.lengths

    def windows(
        self,
        chroms: NDArray[np.int64],
        starts: NDArray[np.int64],
        length: int,
        /,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> Ids:
        """As `Genome.windows`; `[MASK]` for the bases A, C, G and T that are hidden."""
        ids = self.genome.windows(chroms, starts, length, reverse=reverse)
        column = np.arange(length)
        if reverse is not None:
            column = np.where(reverse[:, None], column[::-1], column)
        place = starts[:, None] + column
        ids[(place % self.every == self.offset) & (ids < _LETTERS)] = DNA.mask_id
        return ids
