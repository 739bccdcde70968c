import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from helicon.alphabet import DNA
from helicon.drawing.sheet import drawn as sheet_of
from helicon.inference.drawing import logo
from helicon.inference.drawing.logo import logo_svg


def drawn(ids: np.ndarray, changes: np.ndarray, start: int = 0) -> str:
    text = logo_svg(ids, changes.astype(np.float32), start=start, title="a < b & c")
    ElementTree.fromstring(text)
    return text


def test_letters_rise_where_substitutions_lower_the_score():
    changes = np.full((4, 4), np.nan, dtype=np.float32)
    changes[0, 1:] = -2  # A matters
    changes[1, [0, 2, 3]] = 1  # C is worse than the others
    changes[3, :2] = [-3, 3]
    heights = np.array([2.0, -1.0, 0.0, 0.0])
    with sheet_of(lambda sheet: logo._draw("ACNG", changes, heights, 1, "t", sheet), 420) as sheet:
        found = {
            mark.get_label(): mark.get_paths()[0].get_extents()
            for mark in sheet.figure.findobj(PathCollection)
            if mark.get_label() in "ACGT"
        }
    assert found.keys() == {"A", "C"}
    assert found["A"].intervaly == pytest.approx([0, 2])
    assert found["C"].intervaly == pytest.approx([-1, 0])
    assert found["C"].x0 - found["A"].x0 == pytest.approx(1)
    text = drawn(DNA.encode("ACNG"), changes)
    assert "a &lt; b &amp; c" in text
    assert re.search(r"letters: mean fall of the score; map: .* blue to 3, orange to -3", text)


def test_map_has_a_cell_for_every_base():
    ids = DNA.encode("ACGT" * 30)
    changes = np.where(np.eye(4, dtype=bool)[ids], np.nan, 1.0)
    text = drawn(ids, changes, start=999)
    tips = re.findall(r"<title>([\d,]+) (\w)&gt;(\w) 1</title>", text)
    assert len(tips) == 3 * 120
    assert tips[0] == ("1,000", "A", "C")
    grey = re.findall(r"<use [^>]*fill:var\(--muted\);fill-opacity:0.45", text)
    assert len(grey) == 120
    assert ">1,110</text>" in text


def test_nothing_known_is_drawn_too():
    text = drawn(DNA.encode("NN"), np.full((2, 4), np.nan))
    assert "&gt;" not in text
    assert "fill:var(--muted);fill-opacity" not in text
