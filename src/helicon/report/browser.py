"""Genome-browser figures: probabilities along a region above the genes annotated there.

Coordinates are 0-based and half-open inside, and written 1-based and inclusive, as browsers do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from helicon.report.canvas import Canvas
from helicon.report.figure import Figure
from helicon.report.layout import (
    Frame,
    Values,
    bin_means,
    shortened,
    swatches,
    text_width,
    tick_texts,
    ticks,
    wrapped,
)

_LEFT, _LANE, _ARROW = 20.0, 19.0, 14.0


class Feature(NamedTuple):
    """A gene or another stretch of a chromosome.

    Attributes:
        start: first base, 0-based.
        end: base behind the last one.
        strand: `+` or `-`; anything else is drawn on the forward side, without a direction.
        name: what it is called; may be empty.
    """

    start: int
    end: int
    strand: str
    name: str = ""


@dataclass(frozen=True)
class Panel:
    """What one model says about a region.

    Attributes:
        name: the model.
        forward: probability at every base that it is coding on the forward strand, (L,).
        reverse: the same for the reverse strand, (L,).
        segments: stretches that the model calls genes, drawn as bars; may be empty.
    """

    name: str
    forward: ArrayLike
    reverse: ArrayLike
    segments: Sequence[Feature] = ()


@dataclass(frozen=True)
class _Row:
    """A part of the region that is drawn in one row: its bases and its plotting area."""

    start: int
    end: int
    left: float
    right: float

    def frame(self, top: float, height: float, y: tuple[float, float]) -> Frame:
        return Frame((self.left, top, self.right - self.left, height), (self.start, self.end), y)

    def inside(self, features: Sequence[Feature]) -> list[Feature]:
        return [f for f in features if f.end > self.start and f.start < self.end]


def genome_browser(
    chrom: str,
    start: int,
    end: int,
    panels: Sequence[Panel],
    features: Sequence[Feature | tuple[int, int, str, str]],
    *,
    region_name: str = "held out",
    title: str = "A held-out region",
    caption: str = "",
    features_label: str = "annotated genes",
) -> Figure:
    """Draw the probabilities of one or more models along a region, above its annotated genes.

    The forward strand is drawn upwards from the axis, the reverse strand downwards; annotated
    genes shade the panels. On narrow pages the region is broken into two rows.

    Args:
        chrom: name of the chromosome.
        start: first base of the region, 0-based.
        end: base behind its last one; every track has `end - start` values.
        panels: one a model, from top to bottom.
        features: annotated genes; those outside the region are left out.
        region_name: what the region is, as the split it belongs to.
        title: heading of the figure.
        caption: sentence before the explanation of the marks.
        features_label: what the features are.
    """
    genes = sorted(Feature(*f) for f in features if f[1] > start and f[0] < end)
    where = f"{chrom}:{start + 1:,}–{end:,}"
    note = (
        "Above each axis: probability of coding on the forward strand; below: on the reverse "
        f"strand; shaded: {features_label}. Coordinates are 1-based."
    )
    return Figure(
        title=title,
        caption=f"{caption} {note}".strip(),
        alt=(
            f"Genome browser of {where} ({region_name}): predicted probabilities of "
            f"{', '.join(p.name for p in panels) or 'no model'} for both strands above "
            f"{len(genes)} {features_label}."
        ),
        draw=partial(
            _draw, f"{where} · {region_name}", start, end, tuple(panels), genes, features_label
        ),
    )


def _draw(
    heading: str,
    start: int,
    end: int,
    panels: Sequence[Panel],
    genes: Sequence[Feature],
    features_label: str,
    width: float,
) -> Canvas:
    canvas = Canvas(width)
    y = 14.0
    for line in wrapped(heading, 0.9 * width):
        canvas.text(0, y, line, "ink", bold=True, tip=heading)
        y += 17
    legend = [("forward strand", "forward", "block"), ("reverse strand", "reverse", "block")]
    y = swatches(canvas, 0, y + 6, width, legend) + 12
    count = 2 if width < 600 and end - start > 4000 else 1
    edges = np.linspace(start, end, count + 1).astype(int)
    for first, last in itertools.pairwise(edges.tolist()):
        row = _Row(first, last, _LEFT, width - 8)
        y = _draw_ruler(canvas, row, y)
        for panel in panels:
            y = _draw_panel(canvas, row, panel, slice(first - start, last - start), genes, y)
        y = _draw_genes(canvas, row, row.inside(genes), features_label, y) + 14
    canvas.height = y - 8
    return canvas


def _draw_ruler(canvas: Canvas, row: _Row, top: float) -> float:
    """Draw the coordinates of a row; returns where they end."""
    frame = row.frame(top, 0, (0, 1))
    places = ticks(row.start, row.end, round((row.right - row.left) / 95))
    step = places[1] - places[0] if len(places) > 1 else 1.0
    size, unit = next(u for u in ((1e6, "Mb"), (1e3, "kb"), (1, "bp")) if step >= u[0] or u[0] == 1)
    y = top + 22
    canvas.line([(row.left, y), (row.right, y)], "line")
    texts = tick_texts([place / size for place in places])
    for place, text in zip(places, texts, strict=True):
        x = float(frame.across(place))
        label = f"{text} {unit}"
        half = text_width(label, 11) / 2
        canvas.line([(x, y - 4), (x, y)], "muted")
        middle = min(max(x, row.left + half), row.right - half)
        canvas.text(middle, y - 8, label, anchor="middle", size=11)
    return y + 6


def _draw_panel(
    canvas: Canvas, row: _Row, panel: Panel, part: slice, genes: Sequence[Feature], top: float
) -> float:
    """Draw one model's probabilities; returns where the panel ends."""
    half = 44.0 if canvas.width > 600 else 34.0
    canvas.text(row.left, top + 15, shortened(panel.name, row.right - row.left), "ink", bold=True)
    top += 24
    axis = top + half
    for gene in row.inside(genes):
        left, right = _span(row, gene)
        y = axis if gene.strand == "-" else top
        canvas.rectangle((left, y, right - left, half), _role(gene), opacity=0.13)
    for level, text in ((0.0, "1"), (1.0, "0"), (2.0, "1")):
        y = top + half * level
        canvas.line([(row.left, y), (row.right, y)], "muted" if level == 1 else "grid")
        canvas.text(row.left - 6, y + 4, text, anchor="end", size=11)
    bins = int(row.right - row.left)
    for values, role, sign in ((panel.forward, "forward", -1), (panel.reverse, "reverse", 1)):
        means = np.clip(bin_means(np.asarray(values, dtype=float)[part], bins), 0, 1)
        _draw_area(canvas, row, means, axis, sign * half, role)
    for segment in row.inside(panel.segments):
        left, right = _span(row, segment)
        y = axis + half + 2 if segment.strand == "-" else top - 5
        canvas.rectangle((left, y, right - left, 3), _role(segment))
    return axis + half + 8


def _draw_area(
    canvas: Canvas, row: _Row, means: Values, axis: float, height: float, role: str
) -> None:
    """Fill between the axis and the values; stretches without a number stay empty."""
    edges = np.linspace(row.left, row.right, len(means) + 1)
    xs = (edges[:-1] + edges[1:]) / 2
    known = np.flatnonzero(np.isfinite(means))
    for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        if len(run):
            outline = np.column_stack([xs[run], axis + height * means[run]])
            ends = [(edges[run[-1] + 1], axis), (edges[run[0]], axis)]
            canvas.area(np.concatenate([outline, ends]), role, opacity=0.85)


def _draw_genes(
    canvas: Canvas, row: _Row, genes: Sequence[Feature], label: str, top: float
) -> float:
    """Draw genes as arrows in lanes, forward above reverse; returns where the lanes end."""
    canvas.text(row.left, top + 15, label, "ink", bold=True)
    y = top + 24
    for sign, side in (
        ("+", [g for g in genes if g.strand != "-"]),
        ("−", [g for g in genes if g.strand == "-"]),
    ):
        canvas.text(row.left - 6, y + 11, sign, anchor="end", size=12)
        lanes = _lanes(side)
        for gene, lane in zip(side, lanes, strict=True):
            _draw_gene(canvas, row, gene, y + lane * _LANE)
        y += _LANE * (max(lanes, default=0) + 1)
    return y


def _draw_gene(canvas: Canvas, row: _Row, gene: Feature, top: float) -> None:
    left, right = _span(row, gene)
    right = max(right, left + 1.5)
    head = min(6.0, (right - left) / 2)
    middle, bottom = top + _ARROW / 2, top + _ARROW
    points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    if gene.strand == "+" and gene.end <= row.end:
        points = [
            (left, top),
            (right - head, top),
            (right, middle),
            (right - head, bottom),
            (left, bottom),
        ]
    elif gene.strand == "-" and gene.start >= row.start:
        points = [
            (left + head, top),
            (right, top),
            (right, bottom),
            (left + head, bottom),
            (left, middle),
        ]
    length = gene.end - gene.start
    place = f"{gene.start + 1:,}–{gene.end:,}, {gene.strand} strand, {length:,} bp"
    tip = f"{gene.name}: {place}" if gene.name else place
    canvas.area(points, _role(gene), tip=tip)
    if gene.name and text_width(gene.name, 10) <= right - left - 2 * head - 2:
        canvas.text(
            (left + right) / 2, top + 10.7, gene.name, "surface", size=10, anchor="middle", tip=tip
        )


def _lanes(genes: Sequence[Feature]) -> list[int]:
    """The first free lane of every gene, in order of start."""
    ends: list[int] = []
    lanes = []
    for gene in genes:
        lane = next((i for i, end in enumerate(ends) if end <= gene.start), len(ends))
        ends[lane : lane + 1] = [gene.end]
        lanes.append(lane)
    return lanes


def _span(row: _Row, feature: Feature) -> tuple[float, float]:
    """Pixels of a feature's ends, cut at the ends of the row."""
    frame = row.frame(0, 0, (0, 1))
    left, right = frame.across([max(feature.start, row.start), min(feature.end, row.end)])
    return float(left), float(right)


def _role(feature: Feature) -> str:
    return "reverse" if feature.strand == "-" else "forward"
