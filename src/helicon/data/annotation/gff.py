"""GFF3 and GTF: the features of one type, and where their first and last codons are.

GFF counts from one and includes the end; here everything is 0-based and half-open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from helicon.data.genome.genome import Genome
from helicon.data.genome.rows import place, read_rows, refuse
from helicon.errors import InputError

COLUMNS = ("chrom", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
_CODON_TYPES = ("start_codon", "stop_codon")
_NAME_KEYS = ("gene", "gene_name", "Name", "ID", "gene_id", "Parent", "transcript_id")
_GROUP_KEYS = ("Parent", "transcript_id", "ID")


@dataclass(frozen=True)
class GffFeatures:
    """Features of a GFF file.

    Attributes:
        rows: columns `chrom` (position in the genome's names), `start`, `end`, `strand` (`+`, `-`
            or `.`), `name`, `group` (rows of one group are parts of one coding sequence), `line`.
        codons: rows of `start_codon` and `stop_codon`, with their `type`, if the file has any.
    """

    rows: pl.DataFrame
    codons: pl.DataFrame


def read_gff(path: str | Path, genome: Genome, feature: str, *, some: bool = True) -> GffFeatures:
    """Read the features of one type from a plain, gzip or bgzip GFF3 or GTF file.

    Args:
        path: the file.
        genome: where the features lie.
        feature: type of feature (third column).
        some: refuse a file without such features.

    Raises:
        InputError: as `helicon.data.genome.rows.read_rows` and `place`; the file has no such
            feature; a strand is none of `+`, `-`, `.`, `?`.
    """
    types: Counter[str] = Counter()
    wanted = (feature, *_CODON_TYPES)
    frames = []
    for frame in _blocks(path):
        types.update(dict(frame["type"].value_counts().iter_rows()))
        frame = place(path, frame.filter(pl.col("type").is_in(wanted)), genome, base=1)
        strand = frame["strand"].replace("?", ".")
        refuse(path, frame, ~strand.is_in(["+", "-", "."]), "the strand {strand!r} is not + or -")
        frames.append(
            frame.select("type", "line", "chrom", "start", "end", strand, _name(), _group())
        )
    rows = pl.concat(frames) if frames else pl.DataFrame()
    if some and not types[feature]:
        found = ", ".join(f"{name} ({count:,})" for name, count in types.most_common(6))
        raise InputError(f"{path}: has no {feature!r} features; it has {found or 'none at all'}")
    return GffFeatures(
        rows=rows.filter(pl.col("type") == feature).sort("chrom", "start", "end"),
        codons=rows.filter(pl.col("type").is_in(_CODON_TYPES)),
    )


def _blocks(path: str | Path) -> Iterator[pl.DataFrame]:
    return read_rows(path, "GFF file", COLUMNS)


def _attribute(key: str) -> pl.Expr:
    """Value of an attribute, in the way of GFF3 (`key=value;`) or GTF (`key "value";`)."""
    return pl.col("attributes").str.extract(rf'(?:^|;)\s*{key}[= ]"?([^";]+)')


def _name() -> pl.Expr:
    return pl.coalesce(*map(_attribute, _NAME_KEYS), pl.lit("")).alias("name")


def _group() -> pl.Expr:
    alone = pl.format("line {}", "line")
    return pl.coalesce(*map(_attribute, _GROUP_KEYS), alone).alias("group")


def codon_sites(features: GffFeatures) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Where coding sequences start and stop.

    The file's own `start_codon` and `stop_codon` rows where it has any; else the first and the
    last three bases of each coding sequence (in its first and last part).

    Returns:
        Start sites and stop sites: `chrom`, `start`, `end`, `strand`.
    """
    if len(features.codons):
        rows = features.codons.select("type", "chrom", "start", "end", "strand")
        starts, stops = (rows.filter(type=name).drop("type") for name in _CODON_TYPES)
        return starts, stops
    start, end = pl.col("start"), pl.col("end")
    genes = features.rows.group_by("chrom", "strand", "group", maintain_order=True).agg(
        left=start.min(),
        left_end=end.get(start.arg_min()),
        right=end.max(),
        right_start=start.get(end.arg_max()),
    )
    after = pl.min_horizontal(pl.col("left") + 3, "left_end")
    before = pl.max_horizontal(pl.col("right") - 3, "right_start")
    left = genes.select("chrom", start="left", end=after, strand="strand")
    right = genes.select("chrom", start=before, end="right", strand="strand")
    forward, reverse = pl.col("strand") == "+", pl.col("strand") == "-"
    starts = pl.concat([left.filter(forward), right.filter(reverse)])
    stops = pl.concat([right.filter(forward), left.filter(reverse)])
    return starts, stops
