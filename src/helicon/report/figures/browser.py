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
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Polygon, Rectangle
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike, NDArray

from helicon.drawing.sheet import Sheet, shortened, text_width
from helicon.report.figures.figure import Figure

Values = NDArray[np.float64]
_LEFT, _RIGHT, _LANE, _HEAD = 20.0, 8.0, 19.0, 6.0


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

    @property
    def role(self) -> str:
        """Of its colour."""
        return "reverse" if self.strand == "-" else "forward"


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
    sheet: Sheet,
) -> None:
    strands = [Patch(color=sheet.colour[role]) for role in ("forward", "reverse")]
    head = sheet.panel(0, 0, sheet.width, 46)
    head.set_axis_off()
    names = ["forward strand", "reverse strand"]
    title = shortened(heading, sheet.width - 20, bold=True)
    head.legend(strands, names, loc="lower left", ncols=2, handlelength=1, handleheight=0.8)
    head.text(0, 1, title, weight="bold", va="top", url=heading)
    y = 54.0
    count = 2 if sheet.width < 600 and end - start > 4000 else 1
    edges = np.linspace(start, end, count + 1).astype(int).tolist()
    half = 44.0 if sheet.width > 600 else 34.0
    for first, last in itertools.pairwise(edges):
        ruler = _axes(sheet, y + 22, 1, (first, last))
        _draw_ruler(ruler, last - first)
        y += 28
        inside = [gene for gene in genes if gene.end > first and gene.start < last]
        part = slice(first - start, last - start)
        for panel in panels:
            axes = _axes(sheet, y + 24, 2 * half, (first, last), (-1, 1))
            _draw_panel(sheet, axes, panel, part, inside, half)
            y += 32 + 2 * half
        y = _draw_genes(sheet, inside, features_label, y, (first, last)) + 14
    sheet.height = y - 8


def _axes(
    sheet: Sheet,
    top: float,
    height: float,
    bases: tuple[int, int],
    y: tuple[float, float] = (0, 1),
    name: str = "",
) -> Axes:
    width = sheet.width - _LEFT - _RIGHT
    axes = sheet.panel(_LEFT, top, width, height, xlim=bases, ylim=y, yticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.set_visible(False)
    return axes


def _draw_ruler(axes: Axes, length: int) -> None:
    """Draw the coordinates of a row above its panels."""
    size, unit = next(u for u in ((1e6, "Mb"), (1e3, "kb"), (1, "bp")) if length >= 2 * u[0])
    axes.xaxis.set_visible(True)
    axes.xaxis.tick_top()
    axes.spines["top"].set_visible(True)
    low, high = axes.get_xlim()
    margin = (high - low) / 30
    inside = [at for at in axes.get_xticks() if low + margin <= at <= high - margin]
    axes.set_xticks(inside)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at / size:,.10g} {unit}"))


def _draw_panel(
    sheet: Sheet, axes: Axes, panel: Panel, part: slice, genes: Sequence[Feature], half: float
) -> None:
    """Draw one model's probabilities along a row."""
    axes.set_title(shortened(panel.name, sheet.width - 30, bold=True))
    for gene in genes:
        low = -1 if gene.strand == "-" else 0
        box = Rectangle((gene.start, low), gene.end - gene.start, 1, lw=0)
        box.set(color=sheet.colour[gene.role], alpha=0.13)
        axes.add_patch(box)
    axes.set_yticks([-1, 0, 1], labels=["1", "0", "1"])
    for level, role in ((-1, "grid"), (0, "muted"), (1, "grid")):
        axes.axhline(level, color=sheet.colour[role], linewidth=1, clip_on=False)
    first, last = axes.get_xlim()
    for values, role, sign in ((panel.forward, "forward", 1), (panel.reverse, "reverse", -1)):
        means = np.clip(_bin_means(np.asarray(values, dtype=float)[part], int(sheet.width)), 0, 1)
        # Steps show single bases; where bins are as narrow as pixels, their middles say the same.
        at = np.linspace(first, last, len(means) + 1)
        if len(means) < sheet.width / 2:
            at, means = np.repeat(at, 2)[1:-1], np.repeat(means, 2)
        else:
            at = (at[:-1] + at[1:]) / 2
        axes.fill_between(at, 0, sign * means, color=sheet.colour[role], alpha=0.85, linewidth=0)
    for segment in panel.segments:
        under = -1 - 5 / half if segment.strand == "-" else 1 + 2 / half
        start, width = segment.start, segment.end - segment.start
        bar = Rectangle((start, under), width, 3 / half, color=sheet.colour[segment.role], lw=0)
        axes.add_patch(bar)
        bar.set_clip_box(axes.bbox.padded(6))


def _draw_genes(
    sheet: Sheet, genes: Sequence[Feature], label: str, top: float, bases: tuple[int, int]
) -> float:
    """Draw genes as arrows in lanes, forward above reverse; returns where the lanes end."""
    sides = {
        "+": [gene for gene in genes if gene.strand != "-"],
        "−": [gene for gene in genes if gene.strand == "-"],
    }
    lanes = {sign: _lanes(side) for sign, side in sides.items()}
    height = _LANE * sum(max(numbers, default=0) + 1 for numbers in lanes.values())
    axes = _axes(sheet, top + 24, height, bases, (height, 0))
    axes.set_title(shortened(label, sheet.width - 30, bold=True))
    y, ticks = 0.0, []
    for sign, side in sides.items():
        ticks.append(y + 8)
        for gene, lane in zip(side, lanes[sign], strict=True):
            _draw_gene(sheet, axes, gene, y + lane * _LANE)
        y += _LANE * (max(lanes[sign], default=0) + 1)
    axes.set_yticks(ticks, labels=[*sides])
    return top + 24 + height


def _draw_gene(sheet: Sheet, axes: Axes, gene: Feature, top: float) -> None:
    low, high = axes.get_xlim()
    pixel = (high - low) / (sheet.width - _LEFT - _RIGHT)
    left = max(gene.start, low)
    right = max(min(gene.end, high), left + 1.5 * pixel)
    head = min(_HEAD * pixel, (right - left) / 2)
    bottom = top + 14
    forward = head if gene.strand == "+" and gene.end <= high else 0
    reverse = head if gene.strand == "-" and gene.start >= low else 0
    points = [(left + reverse, top), (right - forward, top)]
    points += [(right, top + 7)] if forward else []
    points += [(right - forward, bottom), (left + reverse, bottom)]
    points += [(left, top + 7)] if reverse else []
    length = gene.end - gene.start
    place = f"{gene.start + 1:,}–{gene.end:,}, {gene.strand} strand, {length:,} bp"
    tip = f"{gene.name}: {place}" if gene.name else place
    axes.add_patch(Polygon(points, color=sheet.colour[gene.role], linewidth=0, url=tip))
    if gene.name and text_width(gene.name, 10) * pixel <= right - left - 2 * head - 2 * pixel:
        text: dict[str, Any] = {
            "color": sheet.colour["surface"],
            "size": 10,
            "ha": "center",
            "va": "center",
        }
        axes.text((left + right) / 2, top + 7, gene.name, url=tip, **text)


def _lanes(genes: Sequence[Feature]) -> list[int]:
    """The first free lane of every gene, in order of start."""
    ends: list[int] = []
    lanes = []
    for gene in genes:
        lane = next((i for i, end in enumerate(ends) if end <= gene.start), len(ends))
        ends[lane : lane + 1] = [gene.end]
        lanes.append(lane)
    return lanes


def _bin_means(values: Values, count: int) -> Values:
    """Means over `count` bins of nearly equal width; NaN where a bin holds no number."""
    edges = np.linspace(0, len(values), min(count, len(values)) + 1).astype(int)
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges[:-1])
    counts = np.add.reduceat(known.astype(float), edges[:-1])
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
