"""Step functions over a genome: what each base is worth, held as runs or read from a bigWig.

Memory is that of the runs, whatever the size of the genome; a bigWig is read where it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pybigtools
from numpy.typing import NDArray

from helicon.data.genome.chromosomes import match_names
from helicon.data.genome.genome import Genome
from helicon.data.genome.rows import place, read_rows, refuse
from helicon.errors import InputError

BIGWIG_MAGIC = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of bases of equal value over all chromosomes, one behind the other.

    Attributes:
        offsets: where each chromosome begins, shape (chromosomes,).
        edges: where runs begin, and the end of the last, shape (runs + 1,).
        values: value of each run, shape (runs,).
    """

    offsets: Whole
    edges: Whole
    values: NDArray

    def read(self, chroms: Whole, starts: Whole, ends: Whole) -> NDArray:
        """Read stretches that lie inside their chromosomes.

        Args:
            chroms: positions in the genome's names, shape (n,).
            starts: first base of each, shape (n,).
            ends: behind the last base of each, shape (n,).

        Returns:
            Values of all bases of the stretches, one after the other, shape (sum of lengths,).
        """
        begin, end = starts + self.offsets[chroms], ends + self.offsets[chroms]
        first = np.searchsorted(self.edges, begin, side="right") - 1
        counts = np.searchsorted(self.edges, end, side="left") - first
        shift = first - (np.cumsum(counts) - counts)
        run = np.arange(counts.sum()) + np.repeat(shift, counts)
        from_ = np.maximum(self.edges[run], np.repeat(begin, counts))
        to = np.minimum(self.edges[run + 1], np.repeat(end, counts))
        return np.repeat(self.values[run], to - from_)


def paint(
    genome: Genome, chroms: Whole, starts: Whole, ends: Whole, values: NDArray, empty: int | float
) -> Runs:
    """Lay stretches over a genome, later ones over earlier ones.

    Args:
        genome: the genome.
        chroms: positions in `genome.names`, shape (n,).
        starts: first base of each stretch, shape (n,).
        ends: behind the last base of each, shape (n,).
        values: value of each, shape (n,).
        empty: value where there is no stretch.
    """
    begin, end = starts + genome.offsets[chroms], ends + genome.offsets[chroms]
    edges = np.unique(np.concatenate([[0, genome.total], begin, end]))
    painted = np.full(len(edges) - 1, empty, dtype=values.dtype)
    firsts, lasts = np.searchsorted(edges, begin), np.searchsorted(edges, end)
    if (lasts - firsts == 1).all():
        painted[firsts] = values
    else:
        for first, last, value in zip(firsts.tolist(), lasts.tolist(), values, strict=True):
            painted[first:last] = value
    new = np.append(True, painted[1:] != painted[:-1])
    return Runs(genome.offsets, np.append(edges[:-1][new], edges[-1]), painted[new])


def read_bedgraph(path: str | Path, genome: Genome) -> Runs:
    """Read a plain, gzip or bgzip bedGraph file; bases without a value are NaN.

    As in a bigWig file, NaN is no value and infinity is refused.

    Raises:
        InputError: as `helicon.data.genome.rows.read_rows` and `place`; a value is no finite
            number; two rows give a value to one base.
    """
    frames = []
    for frame in read_rows(path, "bedGraph file", ("chrom", "start", "end", "value", "rest")):
        value = frame["value"].cast(pl.Float32, strict=False)
        wrong = value.is_null() | value.is_infinite()
        refuse(path, frame, wrong, "the value {value!r} is no finite number")
        frame, value = frame.filter(value.is_not_nan()), value.drop_nans()
        frame = place(path, frame, genome, base=0)
        frames.append(frame.select("line", "chrom", "start", "end", value))
    rows = pl.concat(frames).sort("chrom", "start", maintain_order=True)
    if not len(rows):
        raise InputError(f"{path}: holds no values; a bedGraph file is wanted")
    overlaps = (rows["start"] < rows["end"].shift(1)) & (rows["chrom"] == rows["chrom"].shift(1))
    refuse(path, rows, overlaps.fill_null(False), "gives a value to bases that have one already")
    chroms, starts, ends, values = (
        rows[name].to_numpy() for name in ("chrom", "start", "end", "value")
    )
    return paint(genome, chroms, starts, ends, values, np.nan)


@dataclass(frozen=True)
class BigWig:
    """Values of a bigWig file, NaN where it has none.

    The file is opened for each reading (30 microseconds), so that a track may go to other
    processes and threads.

    Attributes:
        path: the file.
        names: for each chromosome of the genome its name in the file, or `None`.
    """

    path: Path
    names: list[str | None]

    @classmethod
    def open(cls, path: str | Path, genome: Genome) -> BigWig:
        """Open a file and match its chromosomes.

        Chromosomes that only the file has are never asked for; those that only the genome has are
        NaN.

        Raises:
            InputError: it is cut short or damaged, holds no values, shares no chromosome with the
                genome, or has one at another length.
        """
        path = Path(path)
        opened = _open(path)
        sizes, info = opened.chroms(), opened.info()
        # The first version of the format counts nothing.
        if info["version"] > 1 and not info["summary"]["basesCovered"]:
            raise InputError(f"{path}: holds no values; is it an empty track?")
        names: list[str | None] = [None] * len(genome.names)
        for name, i in match_names(sizes, genome.names).items():
            if sizes[name] != genome.lengths[i]:
                raise InputError(
                    f"{path}: {name!r} has {sizes[name]} bases, in the genome {genome.lengths[i]}; "
                    "is it of this genome?"
                )
            names[i] = name
        if not any(names):
            raise InputError(
                f"{path}: shares no sequence with the genome; it has {', '.join(list(sizes)[:4])}, "
                f"the genome {', '.join(genome.names[:4])}"
            )
        return cls(path, names)

    def read(self, chroms: Whole, starts: Whole, ends: Whole) -> NDArray[np.float32]:
        """Read stretches, as `Runs.read`.

        Raises:
            InputError: a value is infinite, or the file is damaged; names the place.
        """
        handle = _open(self.path)
        out = np.full(int((ends - starts).sum()), np.nan, dtype=np.float32)
        at = 0
        for chrom, start, end in zip(chroms.tolist(), starts.tolist(), ends.tolist(), strict=True):
            name = self.names[chrom]
            if name is not None and start < end:
                try:
                    out[at : at + end - start] = handle.values(name, start, end, fillna=None)
                except pybigtools.BBIReadError as error:
                    raise _damaged(self.path, error) from error
                if (wrong := np.isinf(out[at : at + end - start])).any():
                    base = start + int(wrong.argmax()) + 1
                    raise InputError(
                        f"{self.path}: the value of {name}:{base} is infinite; write finite numbers"
                    )
            at += end - start
        return out


def _open(path: Path) -> pybigtools.BBIReader:
    try:
        return pybigtools.open(str(path))
    except (pybigtools.BBIReadError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: the bigWig file is damaged or cut short ({error}); fetch or make it again"
    )


#: A value for every base of a genome.
Track = Runs | BigWig
