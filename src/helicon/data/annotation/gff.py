"""GFF3 and GTF: the features of one type, and where their first and last codons are.

GFF counts from one and includes the end; here everything is 0-based and half-open. Read as what
they mean, whichever way a file puts it:

- rows of one `Parent` (each, where several are named), `transcript_id`, or else `ID` or `gene_id`
  are parts of one coding sequence; where they overlap (alternative starts under one gene, as NCBI
  writes them) those of one `ID` or `protein_id` are;
- `start_codon` and `stop_codon` rows belong to the coding sequence: GTF leaves the stop codon out
  of `CDS`, GFF3 does not;
- on a sequence that a row (`region`) calls `Is_circular=true`, a feature may go on across the
  origin, with an end greater than the length (GFF3 specification, "Circular genomes");
- a part that says `partial=true`, `cds_start_NF` or `cds_end_NF`, or is cut in a codon by an end of
  its sequence, has no start or stop codon there; of a trans-spliced one only the first part has
  the start, and only the last the stop.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from helicon.data.annotation.parts import arranged, with_codons
from helicon.data.genome.genome import Genome
from helicon.data.genome.rows import place, read_rows, refuse
from helicon.data.reading.compressed import OR_LATIN_1
from helicon.errors import InputError

COLUMNS = ("chrom", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
_CODON_TYPES = ("start_codon", "stop_codon")
_NAME_KEYS = ("gene", "gene_name", "Name", "ID", "gene_id", "Parent", "transcript_id")
_CIRCULAR = r"(?i)(?:^|;)\s*Is_circular=true"


@dataclass(frozen=True)
class GffFeatures:
    """Features of a GFF file.

    Attributes:
        rows: columns `chrom` (position in the genome's names), `start`, `end`, `strand` (`+`, `-`
            or `.`), `name`, `group` (rows of one group are parts of one coding sequence; a row
            with two parents is there for each), `line`, and `stop`: the last base of translation in
            the part that has the stop codon, else null. A part across the origin of a circular
            sequence is two rows.
        starts: start sites: `chrom`, `start`, `end`, `strand`. The file's own `start_codon` rows
            where it has any; else the first three bases of each coding sequence, in its first part.
        stops: stop sites, likewise.
    """

    rows: pl.DataFrame
    starts: pl.DataFrame
    stops: pl.DataFrame


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
    wanted = pl.col("type").is_in([feature, *_CODON_TYPES])
    frames = []
    for frame in read_rows(path, "GFF file", COLUMNS):
        types.update(dict(frame["type"].value_counts().iter_rows()))
        circular = pl.col("attributes").str.contains(_CIRCULAR).fill_null(False)
        some_rows = frame.filter(wanted | circular).with_columns(circular=circular)
        frames.append(some_rows.with_columns(**_said()).drop("source", "score", "attributes"))
    rows = pl.concat(frames)
    round_ = _circular(genome, rows)
    rows = place(path, rows.filter(wanted), genome, base=1, encoded=True, circular=round_)
    strand = rows["strand"].replace("?", ".")
    refuse(path, rows, ~strand.is_in(["+", "-", "."]), "the strand {strand!r} is not + or -")
    if some and not types[feature]:
        found = ", ".join(f"{name} ({count:,})" for name, count in types.most_common(6))
        raise InputError(f"{path}: has no {feature!r} features; it has {found or 'none at all'}")
    size = pl.Series("size", genome.lengths)[rows["chrom"]]
    rows = rows.with_columns(strand, size, _decoded(rows["name"]),
                             pl.col("chrom").is_in(list(round_)).alias("circular"))  # fmt: skip
    codons = rows.filter(pl.col("type").is_in(_CODON_TYPES))
    rows = rows.filter(type=feature)
    if feature == "CDS" and len(codons):
        rows = with_codons(rows, codons)
    parts = arranged(rows)
    starts, stops = (
        (_site_rows(own) if len(own := codons.filter(type=name)) else _end_sites(parts, name))
        for name in _CODON_TYPES
    )
    return GffFeatures(_features(parts), starts, stops)


# ---------------------------------------------------------------- attributes


def _attribute(key: str) -> pl.Expr:
    """Value of an attribute, in the way of GFF3 (`key=value;`) or GTF (`key "value";`)."""
    return pl.col("attributes").str.extract(rf'(?:^|;)\s*{key}[= ]"?([^";]+)')


def _said() -> dict[str, pl.Expr]:
    """What the attributes of a row say.

    `parents` (those that it is a part of), `own` (what tells it from others of its parent), whether
    it is cut at its left, right, first (5') and last (3') end, at an end that is not named, whether
    it is trans-spliced, and which part of that it is.
    """
    alone = pl.concat_list(
        pl.coalesce(
            *map(_attribute, ("transcript_id", "ID", "gene_id")), pl.format("line {}", "line")
        )
    )
    has = pl.col("attributes").fill_null("")
    partial, left, right = map(_attribute, ("partial", "start_range", "end_range"))
    left = left.str.starts_with(".,") | partial.is_in(["10", "11"])
    right = right.str.ends_with(",.") | partial.is_in(["01", "11"])
    named = _attribute("start_range").is_not_null() | _attribute("end_range").is_not_null()
    cuts = {
        "left": left,
        "right": right,
        "somewhere": (partial == "true") & ~named,
        "first": has.str.contains("cds_start_NF", literal=True),
        "last": has.str.contains("cds_end_NF", literal=True),
        "trans": has.str.contains(r"trans[-_ ]splic"),
    }
    return {
        "name": pl.coalesce(*map(_attribute, _NAME_KEYS), pl.lit("")),
        "parents": pl.coalesce(_attribute("Parent").str.split(","), alone),
        "own": pl.coalesce(*map(_attribute, ("ID", "protein_id"))),
        "part": _attribute("part").str.extract(r"^(\d+)").cast(pl.Int64),
        **{f"cut_{key}": value.fill_null(False) for key, value in cuts.items() if key != "trans"},
        "trans": cuts["trans"],
    }


def _decoded(names: pl.Series) -> pl.Series:
    """Names whose percent-encoded characters are decoded."""
    coded = names.filter(names.str.contains("%", literal=True)).unique()
    return names.replace({name: unquote(name, errors=OR_LATIN_1) for name in coded})


def _circular(genome: Genome, rows: pl.DataFrame) -> set[int]:
    """Positions of the sequences that a row from end to end calls circular."""
    found = set()
    for name, start, end in rows.filter("circular").select("chrom", "start", "end").iter_rows():
        chrom = genome.find(name, encoded=True)
        if chrom is not None and (start, end) == ("1", str(genome.lengths[chrom])):
            found.add(chrom)
    return found


# ---------------------------------------------------------------- what is made of them


def _features(parts: pl.DataFrame) -> pl.DataFrame:
    names = ("chrom", "start", "end", "strand", "name", "group", "line", "stop")
    return _wrapped(parts).select(names).sort("chrom", "start", "end", maintain_order=True)


def _end_sites(parts: pl.DataFrame, name: str) -> pl.DataFrame:
    """Three bases at the starts, or the stops, of the coding sequences that have them."""
    first = name == "start_codon"
    parts = parts.filter("has_start" if first else "has_stop")
    from_left = pl.col("strand") == ("+" if first else "-")
    start, end = pl.col("start"), pl.col("end")
    sites = parts.filter(pl.col("strand") != ".").with_columns(
        start=pl.when(from_left).then(start).otherwise(pl.max_horizontal(end - 3, start)),
        end=pl.when(from_left).then(pl.min_horizontal(start + 3, end)).otherwise(end),
    )
    return _site_rows(sites)


def _site_rows(sites: pl.DataFrame) -> pl.DataFrame:
    return _wrapped(sites).select("chrom", "start", "end", "strand")


def _wrapped(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that end behind the origin of a circular sequence, in one piece or two."""
    size = pl.col("size")
    before = rows.filter(pl.col("start") < size).with_columns(end=pl.min_horizontal("end", "size"))
    behind = rows.filter(pl.col("end") > size).with_columns(
        start=pl.max_horizontal(pl.col("start") - size, 0), end=pl.col("end") - size
    )
    return pl.concat([before, behind])
