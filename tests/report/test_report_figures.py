import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from matplotlib.patches import Polygon, Rectangle
from matplotlib.transforms import Bbox

from helicon.drawing.palette import LIGHT
from helicon.drawing.sheet import clean, drawn, logarithmic, shortened, text_width
from helicon.report import (
    Feature,
    Figure,
    Panel,
    comparison,
    confusion_matrix,
    dissimilarity,
    genome_browser,
    learning_curves,
    loss_curves,
    scatter,
)
from helicon.report.figures.browser import _bin_means
from helicon.report.figures.curves import _apart, _smooth
from helicon.report.figures.figure import HALF, NARROW, WIDE

HOSTILE = "<script>alert('x')</script> & \"quoted\" $\\alpha$ \x00\ud800 long " + "name" * 40
NAN = math.nan
TAGS = {"svg", "g", "path", "text", "title", "use", "defs", "clipPath", "rect"}


def browser(panels=None, genes=(), start=1000, end=9000) -> Figure:
    if panels is None:
        wave = np.linspace(0, 1, end - start)
        panels = [Panel("pretrained", wave, 1 - wave)]
    return genome_browser("chr1", start, end, panels, genes, region_name="test block")


FIGURES = {
    "losses": loss_curves(
        {"": [(i, 1.3 + 1 / i) for i in range(1, 500)]},
        {"": [(100, 1.4), (400, 1.32)]},
        {"order-0 Markov": 1.386, "order-5 Markov": 1.385, "none": NAN},
    ),
    "losses of nothing": loss_curves({}, {}),
    "losses of one point": loss_curves({"a": [(1, 2.0)]}, {"a": [(1, 2.0)]}),
    "losses that are not numbers": loss_curves({"": [(1, NAN), (2, math.inf)]}),
    "hostile losses": loss_curves({HOSTILE: [(1, 2), (2, 1)], "b": [(1, 1)]}, {}, {HOSTILE: 1.5}),
    "runs": learning_curves(
        {"a": [[(0, 0.1), (10, 0.5)], [(0, 0.2), (10, 0.6)]], HOSTILE: [[(0, 0.3)]]},
        title="MCC",
        y_label="MCC",
    ),
    "runs of nothing": learning_curves({"a": []}, title="MCC", y_label="MCC"),
    "comparison": comparison(
        {"pretrained": [0.8, 0.82, 0.79], "from scratch": [0.4, 0.5, 0.45]}, "MCC", {"k-mers": 0.6}
    ),
    "one seed": comparison({"pretrained": [0.8]}, "MCC"),
    "no seed": comparison({"pretrained": []}, "MCC"),
    "no groups": comparison({}, "MCC"),
    "seeds that failed": comparison({"a": [0.5, NAN], "b": [NAN]}, "MCC", {"x": NAN}),
    "equal seeds": comparison({"a": [0.5] * 12}, "loss", better="lower"),
    "hostile groups": comparison({HOSTILE: [0.1, 0.2]}, HOSTILE, {HOSTILE: 0.9}),
    "dissimilarity": dissimilarity(
        {"M+NoAug": [0.028, 0.029], "MDT+NR": [0.181, 0.179]}, {"MDT+NR": 0.175, "else": 1.0}
    ),
    "dissimilarity of nothing": dissimilarity({}),
    "dissimilarity of equal views": dissimilarity({"NoAug+NoAug": [0.0], "M+N": [NAN]}),
    "hostile dissimilarity": dissimilarity({HOSTILE: [0.1, NAN]}, {HOSTILE: 0.9}, title=HOSTILE),
    "confusion": confusion_matrix([[90, 10], [5, 95]], ["no", "yes"]),
    "confusion of nothing": confusion_matrix(np.zeros((2, 2)), ["no", "yes"]),
    "one class": confusion_matrix([[7]], ["only"]),
    "hostile classes": confusion_matrix(np.eye(3), ["a", HOSTILE, "c"]),
    "many classes": confusion_matrix(np.eye(12), [f"class number {i}" for i in range(12)]),
    "millions": confusion_matrix(np.full((3, 3), 123_456_789), ["coding forward", "b", "c"]),
    "browser": browser(genes=[(500, 2000, "+", "geneA"), (1900, 9500, "-", HOSTILE)]),
    "browser of nothing": browser(panels=[], genes=[]),
    "browser with gaps": browser([Panel(HOSTILE, np.full(8000, NAN), [NAN, 1] * 4000)]),
    "scatter": scatter(
        np.linspace(0.2, 0.8, 300),
        np.linspace(0.3, 0.7, 300) ** 2,
        title="Predicted and true",
        x_label="index",
        y_label="predicted",
    ),
    "scatter of nothing": scatter([], [], title="s", x_label="x", y_label="y"),
    "scatter of one point": scatter([2.0], [NAN], title="s", x_label="x", y_label="y"),
    "scatter beyond its limits": scatter(
        [-9.0, 0.5, 9.0], [0.5, 0.5, 0.5], title="s", x_label="x", y_label="y", limits=(0, 1)
    ),
    "hostile scatter": scatter(
        [1e6, 2e6], [-1e-6, 5e6], title=HOSTILE, x_label=HOSTILE, y_label=HOSTILE, caption=HOSTILE
    ),
    "short browser": browser([Panel("a", [0.1, 0.2], [0.5, NAN])], [(1, 9, "+", "g")], 4, 6),
}


@dataclass(frozen=True)
class Words:
    """A line of text in a drawing, and the box that it takes."""

    text: str
    box: Bbox
    upright: bool


@cache
def svg_of(name: str, width: float) -> str:
    return FIGURES[name].svg(width)


def words(text: str) -> list[Words]:
    found = []
    for element in ElementTree.fromstring(text).iter("text"):
        style = dict(part.split(":") for part in element.get("style", "").split(";"))
        text = "".join([element.text or "", *(child.tail or "" for child in element)])
        size = float(style["font-size"].removesuffix("px"))
        turned = "rotate" in element.get("transform", "")
        long = text_width(text, size, bold="font-weight" in style)
        moved = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", element.get("transform", ""))
        x, y = map(float, moved.groups() if moved else (element.get("x", ""), element.get("y", "")))
        left = x - {"middle": 0.5, "end": 1.0}.get(style.get("text-anchor", ""), 0) * long
        found.append(Words(text, Bbox([[left, y - 0.7 * size], [left + long, y]]), not turned))
    return found


def artists(figure: Figure, kind: type) -> list[Any]:
    with drawn(figure.draw, WIDE) as sheet:
        return [mark for mark in sheet.figure.findobj(kind) if type(mark) is kind]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_figure_is_whole_svg_with_words_for_it(name, width):
    figure = FIGURES[name]
    text = svg_of(name, width)
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert figure.title
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        for key in ("d", "x", "y", "viewBox"):
            assert "n" not in element.get(key, "")
        assert element.tag in {
            "svg",
            "g",
            "path",
            "text",
            "title",
            "use",
            "defs",
            "clipPath",
            "rect",
        }
        for key in ("href", "clip-path"):
            refers = element.get(key, "").removeprefix("url(").removesuffix(")")
            assert not refers or refers.removeprefix("#") in ids
    assert not {c for c in LIGHT.values() if c in text}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [WIDE, HALF, NARROW])
def test_nothing_is_drawn_outside(name, width):
    root = ElementTree.fromstring(svg_of(name, width))
    height = float(root.get("viewBox", "").split()[3])
    for said in words(svg_of(name, width)):
        if said.upright:
            assert said.box.x0 >= -12, said
            assert said.box.x1 <= width + 12, said
            assert said.box.y0 >= -2 and said.box.y1 <= height, said
    clipped = {
        inside
        for one in root.iter()
        if one.get("clip-path") or one.tag == "defs"
        for inside in one.iter()
    }
    for path in set(root.iter("path")) - clipped:
        points = np.array(re.findall(r"-?[\d.]+", path.get("d", "")), dtype=float)
        assert points[::2].min() >= -1 and points[::2].max() <= width + 1
        assert points[1::2].min() >= -1 and points[1::2].max() <= height + 1
    for use in set(root.iter("use")) - clipped:
        assert -1 <= float(use.get("x", "")) <= width + 1


@pytest.mark.parametrize(
    "name",
    ["losses", "comparison", "dissimilarity", "confusion", "millions", "browser", "scatter"],
)
@pytest.mark.parametrize("width", [WIDE, HALF, NARROW])
def test_no_text_covers_another(name, width):
    upright = [said for said in words(svg_of(name, width)) if said.upright]
    assert upright
    for one, other in itertools.combinations(upright, 2):
        shared = Bbox.intersection(one.box, other.box)
        assert shared is None or shared.width < 0.1 * one.box.width or shared.height == 0, (
            one,
            other,
        )


def test_values_are_shown_on_hover():
    def tips(figure: Figure) -> list[str]:
        root = ElementTree.fromstring(figure.svg())
        return [element.text or "" for element in root.iter("title")]

    assert "step 100: 1.4000" in tips(FIGURES["losses"])
    assert {"0.8000", "0.8200", "0.7900"} <= set(tips(FIGURES["comparison"]))
    assert "no → yes: 10" in tips(FIGURES["confusion"])
    assert {"0.0280", "0.1790"} <= set(tips(FIGURES["dissimilarity"]))
    assert "geneA: 501–2,000, + strand, 1,500 bp" in tips(FIGURES["browser"])


def test_a_curve_says_what_it_shows_and_what_it_left_out():
    figure = loss_curves({"": [(1, 1.5), (2, NAN), (3, 1.25)]}, y_label="nats")
    assert "from 1.5 at step 1 to 1.25 at step 3" in figure.alt
    assert "1 recorded values that are not numbers are left out" in figure.caption


def test_high_first_losses_do_not_flatten_the_rest():
    points = [(1, 50.0), *((i, 1.3 + 0.001 * (i % 5)) for i in range(2, 200))]
    figure = loss_curves({"": points})
    assert "rise above the frame" in figure.caption
    with drawn(figure.draw, WIDE) as sheet:
        assert sheet.figure.axes[0].get_ylim()[1] < 1.31


def dots(figure: Figure) -> list[PathCollection]:
    return artists(figure, PathCollection)


def test_a_comparison_states_mean_spread_and_number():
    figure = comparison({"a": [0.8, 0.9, 1.0]}, "MCC")
    assert "a 0.900 ± 0.100 (n = 3)" in figure.alt
    assert figure.data is not None
    assert figure.data.rows[0] == ("a", 0.8, 0.9, 1.0)
    (seeds,) = dots(figure)
    np.testing.assert_allclose(seeds.get_offsets()[:, 0], [0.8, 0.9, 1.0])


def test_equal_seeds_do_not_hide_one_another():
    (seeds,) = dots(comparison({"a": [0.5, 0.5, 0.5]}, "MCC"))
    assert len(set(seeds.get_offsets()[:, 1].tolist())) == 3


def test_one_seed_has_no_interval():
    figure = comparison({"a": [0.8]}, "MCC")
    assert "interval" not in figure.caption
    assert "±" not in figure.alt


def test_views_are_compared_with_what_was_published():
    figure = dissimilarity({"M+NoAug": [0.02, 0.04], "M+N": [NAN]}, {"M+NoAug": 0.025})
    assert "M+NoAug 0.030 ± 0.014 (published 0.025); M+N NaN" in figure.alt
    assert "1 values that are not numbers are left out" in figure.caption
    assert figure.data is not None and figure.data.rows[1] == ("M+N", None, None)
    with drawn(figure.draw, WIDE) as sheet:
        (axes,) = sheet.figure.axes
        (bar,) = axes.patches
        assert bar.get_width() == pytest.approx(0.03)  # the mean, from 0
        assert axes.lines[-1].get_xdata()[0] == 0.025
        assert axes.get_xlim()[0] == 0
    alone = dissimilarity({"M+NoAug": [0.02]})
    assert alone.data is not None and alone.data.rows == [("M+NoAug", 0.02)]
    assert "published" not in alone.caption


def test_confusion_is_shared_out_by_row():
    figure = confusion_matrix([[3, 1], [0, 0]], ["a", "b"])
    said = [said.text for said in words(figure.svg())]
    assert {"75.0", "25.0", "3", "1"} <= set(said)
    assert said.count("–") == 2
    assert "a right 75.0" in figure.alt


def arrows(figure: Figure) -> list[Polygon]:
    return [mark for mark in artists(figure, Polygon) if "strand" in (mark.get_url() or "")]


def test_genes_point_along_their_strand_and_are_named_from_base_one():
    figure = browser(genes=[(2000, 3000, "+", "a"), (4000, 5000, "-", "b")])
    forward, reverse = arrows(figure)
    (tip,) = forward.get_xy()[:-1][forward.get_xy()[:-1, 0] == 3000]
    (other,) = reverse.get_xy()[:-1][reverse.get_xy()[:-1, 0] == 4000]
    assert tip[1] % 19 == other[1] % 19 == 7  # one point, half way down the arrow
    assert forward.get_url() == "a: 2,001–3,000, + strand, 1,000 bp"


def test_overlapping_genes_have_lanes_of_their_own():
    shapes = arrows(
        browser(genes=[(2000, 4000, "+", ""), (3000, 5000, "+", ""), (4000, 6000, "+", "")])
    )
    tops = [shape.get_xy()[:, 1].min() for shape in shapes]
    assert tops[0] == tops[2] < tops[1]


def test_genes_outside_are_left_out_and_cut_ones_have_no_point():
    shapes = arrows(browser(genes=[(0, 1000, "+", "out"), (8000, 9500, "+", "cut")]))
    assert len(shapes) == 1
    assert len(shapes[0].get_xy()) - 1 == 4


def test_a_narrow_browser_breaks_the_region_in_two():
    figure = browser(genes=[(1500, 2000, "+", "a")])
    for width, rows in ((NARROW, 2), (WIDE, 1)):
        assert [said.text for said in words(figure.svg(width))].count("pretrained") == rows


def test_called_segments_are_drawn():
    panel = Panel("a", np.zeros(8000), np.zeros(8000), [Feature(2000, 3000, "-")])
    with drawn(browser([panel]).draw, WIDE) as sheet:
        bars = [mark for mark in sheet.figure.findobj(Rectangle) if mark.get_x() == 2000]
        assert [bar.get_window_extent().height for bar in bars] == [pytest.approx(3)]


def critical_difference(names, ranks, distance) -> Figure:
    """Mean ranks on a line; bars join those that are not told apart."""

    def draw(sheet):
        axes = sheet.plot(60 + 18 * len(names))
        axes.set(xlim=(1, len(names)), ylim=(len(names), -1), yticks=[])
        axes.scatter(ranks, range(len(names)), urls=[f"{rank:.2f}" for rank in ranks])
        axes.hlines(-0.5, min(ranks), min(ranks) + distance, color=sheet.colour["ink"])
        for row, (name, rank) in enumerate(zip(names, ranks, strict=True)):
            axes.annotate(name, (rank, row), (8, 0), textcoords="offset points", va="center")

    return Figure("Mean ranks", "", f"Mean ranks of {len(names)} models.", draw)


def against_parameters(parameters, values, errors) -> Figure:
    """A measure with its intervals, against parameters on a logarithmic axis."""

    def draw(sheet):
        axes = sheet.plot(260)
        axes.errorbar(parameters, values, errors, fmt="o", capsize=3)
        logarithmic(axes, "x")
        axes.set_xlabel("parameters", loc="right")
        sheet.say_above(axes, "accuracy")

    return Figure("Accuracy", "", "Accuracy against parameters.", draw)


@pytest.mark.parametrize(
    "figure",
    [
        critical_difference(["a", "b <i>", "c"], [1.2, 2.1, 2.7], 0.4),
        against_parameters([1e5, 1e6, 1e8], [0.5, 0.6, 0.8], [0.1, 0.02, 0.05]),
    ],
    ids=["ranks", "parameters"],
)
def test_a_new_figure_is_a_short_function_on_plain_arrays(figure):
    text = figure.svg(NARROW)
    assert "var(--series-1)" in text
    assert not {c for c in LIGHT.values() if c in text}
    assert "$" not in text


@pytest.mark.parametrize("name", ["losses", "hostile groups", "millions", "browser"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_png_has_the_theme_and_the_size(tmp_path, name, theme):
    figure = FIGURES[name]
    path = figure.write(tmp_path / "figure.png", width=HALF, theme=theme, scale=2)
    image = matplotlib.image.imread(path)
    assert image.shape[1] == pytest.approx(2 * (HALF + 36), abs=2)
    assert (image[0, 0, :3].mean() > 0.5) == (theme == "light")
    assert image[..., :3].std() > 0.02


def test_svg_files_carry_both_themes(tmp_path):
    text = FIGURES["browser"].write(tmp_path / "figure.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in text


def test_long_curves_stay_small():
    rng = np.random.default_rng(0)
    noise = 1.3 + 0.1 * rng.normal(size=100_000)
    assert len(loss_curves({"": [*enumerate(noise)]}).svg()) < 80_000


@given(st.lists(st.floats(-0.5, 1.5), max_size=12))
@settings(max_examples=60, deadline=None)
def test_labels_are_spread_apart(wanted):
    places = _apart(sorted(wanted), 0.05)
    assert len(places) == len(wanted)
    assert all(b - a >= 0.05 - 1e-6 for a, b in itertools.pairwise(places))
    assert all(place <= 1 + 1e-6 for place in places)


@given(st.text(max_size=60), st.floats(20, 300))
@settings(max_examples=30, deadline=None)
def test_shortened_text_fits(text, width):
    short = shortened(text, width)
    assert text_width(short) <= width + 1e-6
    assert short == clean(text).replace("\n", " ") or short.endswith("…")


def test_smoothing_and_bins():
    values = np.arange(10.0)
    np.testing.assert_allclose(_smooth(values, 3)[1:-1], values[1:-1])
    np.testing.assert_allclose(_smooth(values, 1), values)
    np.testing.assert_allclose(_smooth(values, 3)[[0, -1]], [0.5, 8.5])
    np.testing.assert_allclose(_bin_means(np.array([1.0, 3.0, NAN, NAN]), 2), [2.0, NAN])
