import base64
import hashlib
import math
import re

import pytest
from report_pages import Page

from helicon.report import (
    Card,
    Cards,
    Column,
    Columns,
    Commands,
    Facts,
    Prose,
    Report,
    Section,
    Source,
    Spread,
    Table,
    comparison,
    confusion_matrix,
    loss_curves,
)

HOSTILE = "<script>alert(1)</script>\"'&<img src=http://example.org/x onerror=alert(1)>"


def page(text: str = "plain") -> Page:
    figure = confusion_matrix([[1, 2], [3, 4]], [text, "b"], title=text, caption=text)
    curves = loss_curves({text: [(1, 2), (2, 1)]}, {text: [(2, 1.5)]}, title=text, y_label=text)
    table = Table(text, [Column(text), Column(text, "number")], [(text, 1.5)], text)
    blocks = [
        Prose(f"{text}\n\nand `{text}`"),
        Cards([Card(text, text, text)]),
        Facts([(text, text)]),
        Commands([text]),
        Source(text, text),
        table,
        curves,
        Columns([figure, comparison({text: [1, 2]}, text)]),
    ]
    return Page(Report(text, text, [Section(text, blocks)] * 4, [Prose(text)], text).html())


def test_a_page_asks_nothing_of_a_network_and_is_accessible():
    found = page()
    found.assert_self_contained()
    found.assert_accessible()
    assert len(found.all("h1")) == 1
    assert found.all("meta")[1]["content"].startswith("width=device-width")


def test_hostile_text_stays_text():
    plain, hostile = page(), page(HOSTILE)
    hostile.assert_self_contained()
    hostile.assert_accessible()
    assert [tag for tag, _ in hostile.tags if tag in ("img", "script")] == ["script"]
    assert [t for t, _ in plain.tags if t in ("h2", "table")] == [
        t for t, _ in hostile.tags if t in ("h2", "table")
    ]
    assert "<script>alert(1)</script>" in hostile.shown


def test_long_names_can_break_or_scroll():
    found = page("x" * 500)
    found.assert_self_contained()
    scrolls = [a for a in found.all("div") if a.get("class") == "scroll"]
    assert scrolls
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in scrolls)
    assert "overflow-x:auto" in found.text


def test_policy_forbids_all_but_our_own_script():
    found = page()
    policy = found.all("meta")[2]["content"]
    script = re.search(r"<script>(.*?)</script>", found.text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_page_follows_the_theme():
    found = page()
    assert "prefers-color-scheme: dark" in found.text
    assert ":root[data-theme=dark]" in found.text
    assert found.all("button")[0]["id"] == "theme"
    for mark in re.findall(r"<(?:path|text|use|rect|g)[^>]*>", found.text):
        assert not re.search(r"(fill|stroke|style)[^>]*#[0-9a-f]{3}", mark.replace("url(#", ""))


def test_every_figure_is_drawn_for_wide_and_narrow_pages():
    found = page()
    classes = [a.get("class") for a in found.all("div")]
    assert classes.count("narrow") == classes.count("wide") + classes.count("half")


def test_links_lead_to_sections():
    found = page()
    targets = {a["href"] for a in found.all("a")}
    assert targets == {f"#{a['id']}" for a in found.all("section")}


def test_control_characters_are_left_out_of_drawings():
    text = comparison({"a\x00b\x1b": [1.0]}, "m").svg()
    assert "\x00" not in text
    assert "\x1b" not in text


def test_code_is_marked_after_escaping():
    found = Prose("run `a < b` now\n\n\nnext").paragraphs
    assert found == ["run <code>a &lt; b</code> now", "next"]


def test_writing_replaces_as_a_whole(tmp_path):
    path = Report("first", "", []).write(tmp_path / "page.html")
    Report("second", "", []).write(path)
    assert Page(path.read_text(encoding="utf-8")).all("h1")
    assert list(tmp_path.iterdir()) == [path]


def test_tables_write_typed_cells_and_mark_the_best():
    table = Table(
        "t",
        [
            Column("model"),
            Column("MCC", "number", 2, best="max"),
            Column("perplexity", "number", 1, best="min"),
            Column("n", "integer"),
            Column("share", "percent", 1),
        ],
        [
            ("a", Spread((0.8, 0.9)), 3.71, 12345, 0.256),
            ("b", Spread((0.5,)), 3.9, 3, Spread((0.1, 0.3))),
            ("c", None, math.nan, math.nan, None),
            ("d", 0.85, math.inf, 1, math.nan),
        ],
    )
    texts = [[cell.text for cell in row] for row in table.shown]
    assert texts == [
        ["a", "0.85 ± 0.07", "3.7", "12,345", "25.6\u00a0%"],
        ["b", "0.50", "3.9", "3", "20.0 ± 14.1\u00a0%"],
        ["c", "–", "NaN", "NaN", "–"],
        ["d", "0.85", "inf", "1", "NaN"],
    ]
    best = [(i, j) for i, row in enumerate(table.shown) for j, c in enumerate(row) if c.best]
    assert best == [(0, 1), (0, 2)]


def test_a_single_row_has_no_best():
    table = Table("t", [Column("a"), Column("b", "number", best="max")], [("x", 1.0)])
    assert not any(cell.best for row in table.shown for cell in row)


@pytest.mark.parametrize(
    ("values", "text"),
    [((), "–"), ((math.nan,), "NaN"), ((0.5,), "0.500"), ((0.4, 0.6, math.nan), "0.500 ± 0.141")],
)
def test_a_spread_states_what_exists(values, text):
    assert Spread(values).text() == text
