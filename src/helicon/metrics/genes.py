"""Predicted genes against an annotation: per nucleotide, per exon, per gene.

What is counted, in both files, is the features of one type (`CDS`), on their strand, stop codons
included, whether the file has them in its `CDS` rows (GFF3) or beside them (GTF):

- nucleotide: bases inside a feature. Each strand is looked at by itself, so that a base is counted
  once on either strand;
- exon: features; right if both ends are;
- gene: features of one parent (or transcript, or ID) together; right if all of their ends are;
- stop: genes by where they stop translating; right if that base is, whatever the start: the usual
  measure for bacteria. A gene whose end is cut has no stop.

Genes with the same features count once. Alternatives under one parent that overlap (NCBI writes the
alternative starts of a bacterial gene so) are genes of their own, which share their stop.
Sensitivity is the share of the annotation that was
found, precision the share of the predictions that is right.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.data.annotation.gff import read_gff
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions
from helicon.metrics.measures import mcc

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """Counts of one level.

    Attributes:
        annotated: in the annotation.
        predicted: in the prediction.
        matched: in both.
    """

    annotated: int
    predicted: int
    matched: int

    @property
    def sensitivity(self) -> float:
        """Share of what is annotated that was predicted; NaN where nothing is annotated."""
        return self.matched / self.annotated if self.annotated else math.nan

    @property
    def precision(self) -> float:
        """Share of what is predicted that is annotated; NaN where nothing is predicted."""
        return self.matched / self.predicted if self.predicted else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; zero where nothing matches, NaN where there is nothing."""
        both = self.annotated + self.predicted
        return 2 * self.matched / both if both else math.nan

    def as_dict(self) -> dict[str, float]:
        """Counts and measures."""
        shares = {"sensitivity": self.sensitivity, "precision": self.precision, "f1": self.f1}
        return asdict(self) | shares


@dataclass(frozen=True)
class GeneMeasures:
    """All levels.

    Attributes:
        nucleotide: bases inside features, strand by strand.
        exon: features by both ends.
        gene: genes by all ends.
        stop: genes by their last base of translation.
        mcc: Matthews correlation of the nucleotides of both strands.
    """

    nucleotide: Level
    exon: Level
    gene: Level
    stop: Level
    mcc: float

    @property
    def summary(self) -> str:
        """A table for a person."""
        head = f"{'':<12}{'annotated':>12}{'predicted':>12}{'matched':>12}"
        lines = [head + f"{'sensitivity':>13}{'precision':>11}{'F1':>8}"]
        for name in ("nucleotide", "exon", "gene", "stop"):
            level: Level = getattr(self, name)
            counts = f"{level.annotated:>12,}{level.predicted:>12,}{level.matched:>12,}"
            shares = f"{level.sensitivity:>13.4f}{level.precision:>11.4f}{level.f1:>8.4f}"
            lines.append(f"{name:<12}{counts}{shares}")
        return "\n".join([*lines, f"{'MCC of nucleotides':<48}{self.mcc:.4f}"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("nucleotide", "exon", "gene", "stop")
        return {name: getattr(self, name).as_dict() for name in names} | {"mcc": self.mcc}


def score_gff(
    annotation: str | Path,
    prediction: str | Path,
    genome: Genome,
    *,
    feature: str = "CDS",
    predicted_feature: str | None = None,
    regions: str | Path | None = None,
) -> GeneMeasures:
    """Measure a GFF3 file of predictions against one that is held for true.

    Args:
        annotation: GFF3 or GTF file of what is true.
        prediction: GFF3 or GTF file of predictions.
        genome: that both lie on.
        feature: type of feature to compare.
        predicted_feature: its type in the prediction, the same if not given.
        regions: BED file; only its bases, and the genes that lie whole inside, are counted.

    Raises:
        InputError: as `helicon.data.annotation.gff.read_gff`.
    """
    true = read_gff(annotation, genome, feature).rows
    found = read_gff(prediction, genome, predicted_feature or feature, some=False).rows
    return measure_genes(true, found, merged_regions(regions, genome))


def measure_genes(
    annotation: pl.DataFrame, prediction: pl.DataFrame, within: Intervals
) -> GeneMeasures:
    """Measure predicted features against annotated ones.

    Args:
        annotation: columns `chrom` (a whole number), `start`, `end` (0-based, half-open), `strand`
            (`+`, `-`, or `.` for a strand of its own), `group`, equal for features of one gene,
            and `stop`, its last base of translation in a row that has it, or null.
        prediction: the same.
        within: stretches that do not overlap; only their bases, and genes that lie whole inside
            one, are counted.
    """
    tables = annotation, prediction
    whole = [_inside(table, within) for table in tables]
    exon, gene, stop = (
        _level(*(_keys(table, level) for table in whole)) for level in ("exon", "gene", "stop")
    )
    nucleotide = _nucleotides(*tables, within)
    strands = max(2, len({*annotation["strand"], *prediction["strand"]}))
    total = strands * int(within.lengths.sum())
    wrong, missed = (
        count - nucleotide.matched for count in (nucleotide.predicted, nucleotide.annotated)
    )
    none = total - nucleotide.matched - wrong - missed
    matrix = np.array([[none, wrong], [missed, nucleotide.matched]], dtype=np.int64)
    return GeneMeasures(nucleotide, exon, gene, stop, mcc(matrix))


def _level(true: set[Any], found: set[Any]) -> Level:
    return Level(len(true), len(found), len(true & found))


def _inside(table: pl.DataFrame, within: Intervals) -> pl.DataFrame:
    """Features of the genes that lie whole inside one stretch, or one of each chromosome."""
    at = np.full(len(table), -1)
    chrom, start, end = (table[name].to_numpy() for name in ("chrom", "start", "end"))
    for number in np.unique(within.chrom):
        here, rows = chrom == number, np.flatnonzero(within.chrom == number)
        place = np.searchsorted(within.start[rows], start[here], side="right") - 1
        inside = (place >= 0) & (end[here] <= within.end[rows[place]])
        at[here] = np.where(inside, rows[place], -1)
    stretch = pl.Series("stretch", at)
    whole = (pl.col("stretch") >= 0).all().over("group")
    one = (pl.col("stretch").n_unique().over("group", "chrom") == 1).all().over("group")
    return table.with_columns(stretch).filter(whole & one)


def _keys(table: pl.DataFrame, level: str) -> set[Any]:
    """What must be equal for a match, of each exon, gene or stop."""
    if level == "exon":
        return set(table.select("chrom", "strand", "start", "end").iter_rows())
    if level == "stop":
        return set(table.drop_nulls("stop").select("chrom", "strand", "stop").iter_rows())
    exons = pl.struct("chrom", "strand", "start", "end")
    genes = table.sort("chrom", "start", "end").group_by("group").agg(exons.alias("exons"))
    return {tuple(tuple(exon.values()) for exon in exons) for exons in genes["exons"]}


def _nucleotides(annotation: pl.DataFrame, prediction: pl.DataFrame, within: Intervals) -> Level:
    """Bases inside features, in both and in each."""
    counts = np.zeros(3, dtype=np.int64)
    for strand in sorted({*annotation["strand"], *prediction["strand"]}):
        for number in np.unique(within.chrom):
            allowed = within.take(within.chrom == number)
            clipped = [
                _common(_merged(table.filter(strand=strand, chrom=number)), allowed)
                for table in (annotation, prediction)
            ]
            both = _common(clipped[0], clipped[1])
            counts += [int((end - start).sum()) for start, end in (*clipped, both)]
    return Level(*counts.tolist())


Spans = tuple[Whole, Whole]


def _merged(table: pl.DataFrame) -> Spans:
    """Starts and ends of the union of some intervals, ascending."""
    rows = table.sort("start", "end")
    start, end = rows["start"].to_numpy(), rows["end"].to_numpy()
    if not len(start):
        return start, end
    reach = np.maximum.accumulate(end)
    firsts = np.flatnonzero(np.append(True, start[1:] > reach[:-1]))
    return start[firsts], reach[np.append(firsts[1:], len(start)) - 1]


def _common(one: Spans, two: Spans | Intervals) -> Spans:
    """Starts and ends of what two ascending sets of intervals share."""
    start_1, end_1 = one
    start_2, end_2 = two if isinstance(two, tuple) else (two.start, two.end)
    # Every pair that overlaps: for each of the first, a range of the second.
    low = np.searchsorted(end_2, start_1, side="right")
    counts = np.maximum(np.searchsorted(start_2, end_1, side="left") - low, 0)
    first = np.repeat(np.arange(len(start_1)), counts)
    second = np.arange(counts.sum()) + np.repeat(low - (np.cumsum(counts) - counts), counts)
    return np.maximum(start_1[first], start_2[second]), np.minimum(end_1[first], end_2[second])
