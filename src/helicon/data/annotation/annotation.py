"""Labels for every base of a genome: gene classes from GFF or BED, values from bedGraph or bigWig.

Inside, positions are 0-based and half-open; GFF, which counts from one, is converted when read.

**Where features overlap**, a base has the class of the longest feature over it; of equally long
ones, of the one that begins first; then of the forward one. Start and stop sites lie over all
features, starts over stops.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from helicon.data.annotation.gff import read_gff
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, read_bed
from helicon.data.reading.compressed import OR_LATIN_1, foreign, open_bytes
from helicon.data.tracks.reading import BIGWIG_MAGIC, BigWig, Track, Whole, paint, read_bedgraph
from helicon.errors import InputError

#: Class of a base beyond the edge of its chromosome: it has none, and no loss counts it.
IGNORE = -100

STRAND_CLASSES = ("forward", "reverse")
SITE_CLASSES = ("start_forward", "stop_forward", "start_reverse", "stop_reverse")

_MOST_CLASSES = 250
_BIGBED_MAGIC = (b"\xeb\xf2\x89\x87", b"\x87\x89\xf2\xeb")
_SUFFIXES = {
    ".gff": "gff", ".gff3": "gff", ".gtf": "gff", ".bed": "bed",
    ".bedgraph": "bedgraph", ".bdg": "bedgraph", ".bg": "bedgraph",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Annotation:
    """A class or a value for every base of a genome.

    Attributes:
        genome: the genome.
        kind: `classes` or `values`.
        classes: class names in the order of their ids; the first is that of bases without a
            feature. Empty for values.
        opposite: for each class, the id of the same thing read on the other strand.
        features: the features, sorted by place (for figures, and for splits that must not cut
            through genes); empty for values.
        track: the classes or values.
    """

    genome: Genome
    kind: Literal["classes", "values"]
    classes: tuple[str, ...]
    opposite: NDArray[np.int16]
    features: Intervals
    track: Track

    def windows(
        self,
        chroms: ArrayLike,
        starts: ArrayLike,
        length: int,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int16] | NDArray[np.float32]:
        """Gather the labels of windows, as `Genome.windows` gathers their bases.

        Args:
            chroms: positions in `genome.names`, shape (n,).
            starts: first base of each window on the forward strand, shape (n,); may lie before or
                beyond the chromosome.
            length: bases of each window.
            reverse: which windows to read on the reverse strand, shape (n,): the order is reversed,
                and classes of the two strands are exchanged.

        Returns:
            Class ids, int16, or values, float32, of shape (n, length); `IGNORE` or NaN beyond the
            chromosome, NaN also where the file has no value.
        """
        chroms, starts = np.asarray(chroms, np.int64), np.asarray(starts, np.int64)
        size = self.genome.lengths[chroms]
        begin, end = np.clip(starts, 0, size), np.clip(starts + length, 0, size)
        packed = self.track.read(chroms, begin, end)
        classes = self.kind == "classes"
        out = np.full(
            (len(starts), length),
            IGNORE if classes else np.nan,
            dtype=np.int16 if classes else np.float32,
        )
        if packed.size == out.size:
            out[:] = packed.reshape(out.shape)
        else:
            column = np.arange(length)
            inside = (column >= (begin - starts)[:, None]) & (column < (end - starts)[:, None])
            out[inside] = packed
        if reverse is not None and reverse.any():
            turned = out[reverse, ::-1]
            if classes:
                turned = np.where(turned < 0, turned, self.opposite[np.maximum(turned, 0)])
            out[reverse] = turned
        return out


def read_annotation(
    path: str | Path,
    genome: Genome,
    *,
    feature: str = "CDS",
    sites: bool = False,
    by: Literal["strand", "name"] = "strand",
) -> Annotation:
    """Read labels for every base; the kind of file is seen from its content and its name.

    - GFF3, GTF: classes `intergenic`, `forward` and `reverse` from the rows of type `feature`.
    - BED: classes `background`, `forward` and `reverse` from its strands.
    - GFF or BED without any strands: one class, named after `feature` (BED: `feature`).
    - BED, `by="name"`: `background` and the names of its fourth column, sorted; strands and the
      reverse complement do not change them.
    - bedGraph, bigWig: values.

    All but bigWig may be gzip or bgzip. How overlaps are settled: see the module's docstring.

    Args:
        path: the file.
        genome: the genome that it annotates.
        feature: type of GFF feature to read.
        sites: GFF only: four more classes for the codons at which coding sequences start and stop.
        by: BED only: what gives the class.

    Raises:
        InputError: the file is missing, cut short, malformed, has none of the features, strands on
            some of them only, or lies beyond the genome or on chromosomes that it has not.
    """
    kind = _kind(Path(path))
    if sites and kind != "gff":
        raise InputError(f"{path}: start and stop sites are read from GFF files only")
    if kind == "gff":
        return _from_gff(path, genome, feature, sites)
    if kind == "bed":
        return _from_bed(path, genome, by)
    track = read_bedgraph(path, genome) if kind == "bedgraph" else BigWig.open(path, genome)
    nothing = Intervals.of(genome.names, [], [], [])
    return Annotation(genome, "values", (), np.empty(0, np.int16), nothing, track)


def _kind(path: Path) -> str:
    with open_bytes(path, "annotation file") as handle:
        start = handle.read(1 << 16)
    if start.startswith(BIGWIG_MAGIC):
        return "bigwig"
    words = "a bigBed file" if start.startswith(_BIGBED_MAGIC) else foreign(start)
    if words:
        raise InputError(f"{path}: is {words}; a GFF, GTF, BED, bedGraph or bigWig file is wanted")
    if re.search(rb"^track\s.*type=[\"']?bedGraph", start, re.MULTILINE):
        return "bedgraph"
    suffixes = [suffix for suffix in path.suffixes if suffix not in (".gz", ".bgz")]
    named = _SUFFIXES.get(suffixes[-1].lower()) if suffixes else None
    return named or _kind_of_row(path, start)


def _kind_of_row(path: Path, start: bytes) -> str:
    """What the first row looks like, in a file whose name does not say it."""
    if start.startswith(b"##gff"):
        return "gff"
    lines = start.decode("utf-8", OR_LATIN_1).splitlines()
    setting = re.compile(r"#|\s*$|(track|browser)(?!(\t[^\t]*){2}\t\d)(\s+[^\d\s]|$)")
    fields = next((line for line in lines if not setting.match(line)), "").rstrip().split("\t")
    if len(fields) >= 8 and fields[3].isdecimal() and fields[6] in ("+", "-", ".", "?"):
        return "gff"
    if len(fields) >= 3 and fields[1].isdecimal():
        return "bedgraph" if len(fields) == 4 and _is_number(fields[3]) else "bed"
    raise InputError(f"{path}: is no GFF, GTF, BED, bedGraph or bigWig file that can be read")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?\d+)?", text) is not None


# ---------------------------------------------------------------- classes


def _from_gff(path: str | Path, genome: Genome, feature: str, sites: bool) -> Annotation:
    read = read_gff(path, genome, feature)
    rows = read.rows.unique(["line", "start", "end"], keep="first", maintain_order=True)
    columns = [rows[name].to_numpy() for name in ("chrom", "start", "end")]
    names, strands = (rows[name].to_list() for name in ("name", "strand"))
    features = Intervals.of(genome.names, *columns, strand=strands, name=names)
    codes, classes = _strand_codes(path, features, rows["line"].to_numpy(), "intergenic", feature)
    over = []
    if sites:
        if len(classes) == 2:
            raise InputError(f"{path}: {feature!r} rows have no strand; sites need it")
        over = [_site_codes(read.stops, 1), _site_codes(read.starts, 0)]
        classes = (*classes, *SITE_CLASSES)
    return _annotation(genome, features, codes, classes, over)


def _site_codes(rows: pl.DataFrame, which: int) -> tuple[Whole, ...]:
    """Place and class of codons; `which` is 0 for starts, 1 for stops."""
    code = 3 + which + 2 * (rows["strand"] == "-").to_numpy()
    return *(rows[name].to_numpy() for name in ("chrom", "start", "end")), code


def _from_bed(path: str | Path, genome: Genome, by: str) -> Annotation:
    features = read_bed(path, genome, split_column=None)
    order = np.lexsort((features.end, features.start, features.chrom))
    features = features.take(order)
    if by == "strand":
        codes, classes = _strand_codes(path, features, None, "background", "feature")
        return _annotation(genome, features, codes, classes, [])
    names, codes = np.unique(features.name.astype(np.str_), return_inverse=True)
    if "" in names:
        raise InputError(f"{path}: a row has no name in column 4; classes by name need it")
    if "background" in names:
        raise InputError(
            f"{path}: column 4 has the name 'background', which is the class of bases without a "
            "feature; rename it"
        )
    if len(names) > _MOST_CLASSES:
        raise InputError(
            f"{path}: column 4 has {len(names):,} different names, more than {_MOST_CLASSES} "
            "classes; are they identifiers? choose classes by strand"
        )
    classes = ("background", *names.tolist())
    annotation = _annotation(genome, features, codes + 1, classes, [])
    return replace(annotation, opposite=np.arange(len(classes), dtype=np.int16))


def _strand_codes(
    path: str | Path, features: Intervals, lines: Whole | None, empty: str, name: str
) -> tuple[Whole, tuple[str, ...]]:
    """Class of each feature by its strand, and the classes."""
    codes = np.select([features.strand == "+", features.strand == "-"], [1, 2], 0)
    if not codes.any():
        return codes + 1, (empty, name)
    if not codes.all():
        row = int(np.argmin(codes))
        place = f", line {lines[row]}" if lines is not None else ""
        item = features[row]
        raise InputError(
            f"{path}{place}: {item.chrom}:{item.start + 1}-{item.end} has no strand, others have; "
            "give all of them one, or none"
        )
    return codes, (empty, *STRAND_CLASSES)


def _annotation(
    genome: Genome,
    features: Intervals,
    codes: Whole,
    classes: tuple[str, ...],
    over: list[tuple[Whole, ...]],
) -> Annotation:
    """Paint features, the longest last, then what lies over them."""
    order = np.lexsort((-codes, -features.start, features.lengths))
    layers = [(features.chrom[order], features.start[order], features.end[order], codes[order])]
    chrom, start, end, code = (np.concatenate(part) for part in zip(*layers, *over, strict=True))
    return Annotation(
        genome=genome,
        kind="classes",
        classes=classes,
        opposite=opposite_classes(classes),
        features=features,
        track=paint(genome, chrom, start, end, code.astype(np.uint8), 0),
    )


def opposite_classes(classes: tuple[str, ...]) -> NDArray[np.int16]:
    """For each class, the id of the same thing read on the other strand.

    Where the second and the third class are `forward` and `reverse`, these words change places in
    all names; other classes mean the same on both strands.
    """
    stranded = classes[1:3] == STRAND_CLASSES
    swapped = {"forward": "reverse", "reverse": "forward"}
    names = list(classes)
    if stranded:
        names = [re.sub("forward|reverse", lambda m: swapped[m.group()], name) for name in names]
    return np.array([classes.index(name) for name in names], np.int16)
