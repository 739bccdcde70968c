import itertools
import math
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from helicon.report.canvas import Disc, Shape, Words
from helicon.report.figure import HALF, NARROW, WIDE
from helicon.report.layout import (
    bin_means,
    envelope,
    shortened,
    smooth,
    spread_apart,
    text_width,
    tick_texts,
    ticks,
)

HOSTILE = "<script>alert('x')</script> & \"quoted\" $\\alpha$ \x00\ud800 long " + "name" * 40
NAN = math.nan


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


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [WIDE, HALF, NARROW])
def test_every_figure_is_whole_svg_with_words_for_it(name, width):
    figure = FIGURES[name]
    root = ElementTree.fromstring(figure.svg(width))
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert figure.title
    for element in root.iter():
        for key in ("d", "x", "y", "cx", "cy", "viewBox", "opacity"):
            assert "n" not in element.get(key, "")
    assert not root.findall(".//script")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [WIDE, HALF, NARROW])
def test_nothing_is_drawn_outside(name, width):
    canvas = FIGURES[name].draw(width)
    for mark in canvas.marks:
        if isinstance(mark, Words) and not mark.rotate:
            wide = text_width(mark.text, mark.size)
            left = {"start": mark.x, "middle": mark.x - wide / 2, "end": mark.x - wide}[mark.anchor]
            assert left >= -12, mark
            assert left + wide <= width + 12, mark
            assert 8 <= mark.y <= canvas.height, mark
        if isinstance(mark, Disc):
            assert 0 <= mark.x <= width
        if isinstance(mark, Shape) and mark.clip is None:
            assert mark.points[:, 0].min() >= -1
            assert mark.points[:, 0].max() <= width + 1
            assert mark.points[:, 1].min() >= -1
            assert mark.points[:, 1].max() <= canvas.height + 1


@pytest.mark.parametrize(
    "name", ["losses", "comparison", "dissimilarity", "confusion", "browser", "scatter"]
)
@pytest.mark.parametrize("width", [WIDE, HALF, NARROW])
def test_no_text_covers_another(name, width):
    boxes = []
    for mark in FIGURES[name].draw(width).marks:
        if isinstance(mark, Words) and not mark.rotate:
            wide = text_width(mark.text, mark.size) * 0.9
            left = {"start": mark.x, "middle": mark.x - wide / 2, "end": mark.x - wide}[mark.anchor]
            boxes.append((left, left + wide, mark.y - 0.7 * mark.size, mark.y, mark.text))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
            assert apart, (a, b)


def test_a_curve_says_what_it_shows_and_what_it_left_out():
    figure = loss_curves({"": [(1, 1.5), (2, NAN), (3, 1.25)]}, y_label="nats")
    assert "from 1.5 at step 1 to 1.25 at step 3" in figure.alt
    assert "1 recorded values that are not numbers are left out" in figure.caption


def test_high_first_losses_do_not_flatten_the_rest():
    points = [(1, 50.0), *((i, 1.3 + 0.001 * (i % 5)) for i in range(2, 200))]
    figure = loss_curves({"": points})
    assert "rise above the frame" in figure.caption
    texts = [m.text for m in figure.draw(WIDE).marks if isinstance(m, Words)]
    assert not any(text.startswith(("10", "20", "50")) for text in texts if "." in text)


def test_a_comparison_states_mean_spread_and_number():
    figure = comparison({"a": [0.8, 0.9, 1.0]}, "MCC")
    assert "a 0.900 ± 0.100 (n = 3)" in figure.alt
    assert figure.data is not None
    assert figure.data.rows[0] == ("a", 0.8, 0.9, 1.0)
    dots = [m for m in figure.draw(WIDE).marks if isinstance(m, Disc)]
    assert len(dots) == 3


def test_one_seed_has_no_interval():
    figure = comparison({"a": [0.8]}, "MCC")
    assert "interval" not in figure.caption
    assert "±" not in figure.alt


def test_views_are_compared_with_what_was_published():
    figure = dissimilarity({"M+NoAug": [0.02, 0.04], "M+N": [NAN]}, {"M+NoAug": 0.025})
    assert "M+NoAug 0.030 ± 0.014 (published 0.025); M+N NaN" in figure.alt
    assert "1 values that are not numbers are left out" in figure.caption
    assert figure.data is not None and figure.data.rows[1] == ("M+N", None, None)
    marks = figure.draw(WIDE).marks
    bar = next(m for m in marks if isinstance(m, Shape) and m.fill == "series-1")
    dots = [m.x for m in marks if isinstance(m, Disc)]
    stroke = next(m for m in marks if isinstance(m, Shape) and m.stroke == "series-2")
    left, end = bar.points[:, 0].min(), bar.points[:, 0].max()
    assert end == pytest.approx(sum(dots) / 2)  # the mean, on an axis that starts at 0
    assert (stroke.points[0, 0] - left) / (end - left) == pytest.approx(0.025 / 0.03)
    alone = dissimilarity({"M+NoAug": [0.02]})
    assert alone.data is not None and alone.data.rows == [("M+NoAug", 0.02)]
    assert "published" not in alone.caption


def test_confusion_is_shared_out_by_row():
    figure = confusion_matrix([[3, 1], [0, 0]], ["a", "b"])
    texts = [m.text for m in figure.draw(WIDE).marks if isinstance(m, Words)]
    assert {"75.0", "25.0", "3", "1"} <= set(texts)
    assert texts.count("–") == 2
    assert "a right 75.0" in figure.alt


def arrows(figure: Figure, width: float = WIDE) -> list[Shape]:
    return [m for m in figure.draw(width).marks if isinstance(m, Shape) and "strand" in m.tip]


def test_genes_point_along_their_strand_and_are_named_from_base_one():
    forward, reverse = arrows(browser(genes=[(2000, 3000, "+", "a"), (4000, 5000, "-", "b")]))
    assert forward.fill == "forward"
    assert forward.points[:, 0].argmax() == 2
    assert reverse.points[:, 0].argmin() == 4
    assert forward.tip == "a: 2,001–3,000, + strand, 1,000 bp"


def test_overlapping_genes_have_lanes_of_their_own():
    shapes = arrows(
        browser(genes=[(2000, 4000, "+", ""), (3000, 5000, "+", ""), (4000, 6000, "+", "")])
    )
    tops = [shape.points[:, 1].min() for shape in shapes]
    assert tops[0] == tops[2] < tops[1]


def test_genes_outside_are_left_out_and_cut_ones_have_no_point():
    shapes = arrows(browser(genes=[(0, 1000, "+", "out"), (8000, 9500, "+", "cut")]))
    assert len(shapes) == 1
    assert len(shapes[0].points) == 4


def test_a_narrow_browser_breaks_the_region_in_two():
    figure = browser(genes=[(1500, 2000, "+", "a")])
    names = [m.text for m in figure.draw(NARROW).marks if isinstance(m, Words)]
    assert names.count("pretrained") == 2
    assert [m.text for m in figure.draw(WIDE).marks if isinstance(m, Words)].count(
        "pretrained"
    ) == 1


def test_called_segments_are_drawn():
    panel = Panel("a", np.zeros(8000), np.zeros(8000), [Feature(2000, 3000, "-")])
    bars = [
        m
        for m in browser([panel]).draw(WIDE).marks
        if isinstance(m, Shape) and m.fill == "reverse" and np.ptp(m.points[:, 1]) == 3
    ]
    assert len(bars) == 1


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


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_ticks_lie_inside_and_read_differently(low, width, count):
    places = ticks(low, low + width, count)
    assert all(low - 1e-6 * width <= p <= low + width * (1 + 1e-6) for p in places)
    texts = tick_texts(places)
    assert len(set(texts)) == len(places)


@given(st.lists(st.floats(-100, 400), max_size=12))
@settings(max_examples=60, deadline=None)
def test_labels_are_spread_apart(wanted):
    places = spread_apart(wanted, 10, 0, 300)
    assert len(places) == len(wanted)
    ordered = sorted(places)
    assert all(b - a >= 10 - 1e-6 for a, b in itertools.pairwise(ordered))
    assert all(-1e-6 <= p <= 300 + 1e-6 for p in places)


@given(st.text(max_size=60), st.floats(20, 300))
@settings(max_examples=60, deadline=None)
def test_shortened_text_fits(text, width):
    short = shortened(text, width)
    assert text_width(short) <= width + 1e-6
    assert short == text or short.endswith("…")


def test_smoothing_and_outlines():
    values = np.arange(10.0)
    np.testing.assert_allclose(smooth(values, 3)[1:-1], values[1:-1])
    np.testing.assert_allclose(smooth(values, 1), values)
    table = np.column_stack([np.arange(1000.0), np.sin(np.arange(1000))])
    outline = envelope(table, 50)
    assert len(outline) == 100
    assert outline[:, 1].max() == table[:, 1].max()
    assert (np.diff(outline[:, 0]) >= 0).all()
    np.testing.assert_allclose(bin_means(np.array([1.0, 3.0, NAN, NAN]), 2), [2.0, NAN])
