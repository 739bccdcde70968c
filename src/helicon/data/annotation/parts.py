"""Coding sequences put together from the rows of a GFF file: parts, codons beside them, their ends.

Rows have the columns that `helicon.data.annotation.gff` reads; coordinates are 0-based, half-open,
and go on behind the end of a circular sequence.
"""

from __future__ import annotations

import polars as pl

_PLACE = ("chrom", "strand", "parent")


def with_codons(rows: pl.DataFrame, codons: pl.DataFrame) -> pl.DataFrame:
    """Take the codons beside coding sequences into these.

    A codon that touches a part makes it longer; one that lies alone, behind an intron, is a part.

    Args:
        rows: the parts, a row with its `parents` each.
        codons: rows of start and stop codons.
    """
    rows = rows.with_columns(parent="parents").explode("parent").with_row_index("row")
    codons = codons.select(
        "chrom", "strand", pl.col("parents").alias("parent"),
        pl.struct("start", "end", "line", "own").alias("codon"),
    ).explode("parent").with_row_index("codon_row")  # fmt: skip
    first, last = (pl.col("codon").struct.field(name) for name in ("start", "end"))
    pairs = codons.join(rows, on=_PLACE)
    touching = pairs.filter((first <= pl.col("end")) & (last >= pl.col("start")))
    grown = touching.group_by("row").agg(first=first.min(), last=last.max())
    rows = rows.join(grown, on="row", how="left", maintain_order="left").with_columns(
        start=pl.min_horizontal("start", "first"), end=pl.max_horizontal("end", "last")
    )
    alone = pairs.join(touching.select("codon_row"), on="codon_row", how="anti")
    alone = alone.unique("codon_row", keep="first", maintain_order=True).with_columns(
        start=first, end=last, line=pl.col("codon").struct.field("line"),
        own=pl.coalesce(pl.col("codon").struct.field("own"), "own"), phase=pl.lit("0"),
    )  # fmt: skip
    rows = pl.concat([rows.drop("first", "last"), alone.select(rows.drop("first", "last").columns)])
    return rows.with_columns(parents=pl.concat_list("parent")).drop("row", "parent")


def arranged(rows: pl.DataFrame) -> pl.DataFrame:
    """Parts with their `group`, in reading order within it, and where it starts and stops.

    Args:
        rows: the parts, a row with its `parents` each.

    Returns:
        The rows, one for each parent, with `group`, `has_start` and `has_stop` (whether the start
        and the stop codon of the group lie at the ends of this part), and `stop` (the last base of
        translation, if the stop codon lies here).
    """
    rows = rows.with_columns(parent="parents").explode("parent")
    rows = _round_the_origin(_grouped(rows))
    forward = pl.col("strand") == "+"
    along = pl.when(~forward).then(-pl.col("end")).otherwise("start")
    rows = rows.with_columns(
        first_key=pl.when("trans").then(pl.col("part").fill_null(0)).otherwise(along),
        second_key=pl.when("trans").then(pl.col("line").cast(pl.Int64)).otherwise(0),
    ).sort("group", "first_key", "second_key", maintain_order=True)
    rows = rows.with_columns(
        is_first=pl.int_range(pl.len()).over("group") == 0,
        is_last=pl.int_range(pl.len()).over("group") == pl.len().over("group") - 1,
    )
    rows = rows.with_columns(_cut_start(forward), _cut_stop(forward))
    rows = rows.with_columns(
        has_start=pl.col("is_first") & ~pl.col("cut_start"),
        has_stop=pl.col("is_last") & ~pl.col("cut_stop"),
    )
    place = pl.when(pl.col("strand") == "-").then("start").otherwise(pl.col("end") - 1)
    return rows.with_columns(stop=pl.when("has_stop").then(place % pl.col("size")))


def _grouped(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the number of their coding sequence, `group`, and whether it is trans-spliced."""
    begin = pl.col("start")
    reach = pl.col("end").cum_max().shift(1).over(_PLACE)
    rows = rows.sort(*_PLACE, "start", "end", maintain_order=True)
    overlap = (begin < reach).fill_null(False).any().over(_PLACE)
    both = pl.col("strand").n_unique().over("chrom", "parent") > 1
    rows = rows.with_columns(
        own=pl.when(overlap).then("own"), trans=pl.col("trans") | both.fill_null(False)
    )
    spliced = pl.when(~pl.col("trans"))
    return rows.with_columns(
        group=pl.struct(
            spliced.then("chrom").alias("chrom"), spliced.then("strand").alias("strand"),
            "parent", "own",
        ).rank("dense")
    )  # fmt: skip


def _round_the_origin(rows: pl.DataFrame) -> pl.DataFrame:
    """Move parts behind the origin of a circular sequence behind those before it."""
    start, size = pl.col("start"), pl.col("size")
    at_origin = (start == 0).any() & (pl.col("end") >= size).any()
    over = pl.col("circular") & at_origin.over("group") & ~pl.col("trans")
    behind = over & (start < size // 2) & (pl.col("end") < size)
    shift = pl.when(behind).then(size).otherwise(0)
    return rows.with_columns(start=start + shift, end=pl.col("end") + shift)


def _cut_start(forward: pl.Expr) -> pl.Expr:
    """Whether the group of a row has no start codon."""
    at_edge = pl.when(forward).then(pl.col("start") == 0).otherwise(pl.col("end") == pl.col("size"))
    inside = at_edge & ~pl.col("circular") & pl.col("phase").is_in(["1", "2"])
    said = pl.when(forward).then("cut_left").otherwise("cut_right") | _unnamed(at_edge)
    cut = pl.col("is_first") & (inside | said | pl.col("cut_first"))
    return cut.any().over("group").alias("cut_start")


def _cut_stop(forward: pl.Expr) -> pl.Expr:
    """Whether the group of a row has no stop codon."""
    at_edge = pl.when(forward).then(pl.col("end") == pl.col("size")).otherwise(pl.col("start") == 0)
    phase = pl.col("phase").cast(pl.Int64, strict=False).fill_null(0).first().over("group")
    length = (pl.col("end") - pl.col("start")).sum().over("group")
    inside = at_edge & ~pl.col("circular") & ((length - phase) % 3 != 0)
    said = pl.when(forward).then("cut_right").otherwise("cut_left") | _unnamed(at_edge)
    cut = pl.col("is_last") & (inside | said | pl.col("cut_last"))
    return cut.any().over("group").alias("cut_stop")


def _unnamed(at_edge: pl.Expr) -> pl.Expr:
    """A partial row that does not say where: at the edge of its sequence, or else nobody knows."""
    touches = (pl.col("start") == 0) | (pl.col("end") == pl.col("size"))
    return pl.col("cut_somewhere") & (at_edge | ~touches.any().over("group"))
