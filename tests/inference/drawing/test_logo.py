import re
from xml.etree import ElementTree

import numpy as np

from helicon.alphabet import DNA
from helicon.inference.drawing.logo import logo_svg


def drawn(ids: np.ndarray, changes: np.ndarray, start: int = 0) -> str:
    text = logo_svg(ids, changes.astype(np.float32), start=start, title="a < b & c")
    ElementTree.fromstring(text)
    return text


def test_letters_rise_where_substitutions_lower_the_score():
    ids = DNA.encode("ACNG")
    changes = np.full((4, 4), np.nan)
    changes[0, 1:] = -2  # A matters
    changes[1, [0, 2, 3]] = 1  # C is worse than the others
    changes[3, :2] = [-3, 3]
    text = drawn(ids, changes)
    places = re.findall(r"translate\(([\d.]+) ([\d.]+)\) scale\(11 ([\d.]+)\)", text)
    (_, high, tall), (_, low, short) = places
    assert (float(tall), float(short)) == (45, 22.5)
    assert float(low) - float(high) == 45
    assert "a &lt; b &amp; c" in text


def test_map_has_a_cell_for_every_base():
    ids = DNA.encode("ACGT" * 30)
    changes = np.where(np.eye(4, dtype=bool)[ids], np.nan, 1.0)
    text = drawn(ids, changes, start=999)
    assert text.count("<rect") == 1 + 4 * 120
    assert text.count("#b6bdc6") == 120
    assert "<title>1,000 A&gt;C 1</title>" in text
    assert ">1,110</text>" in text


def test_nothing_known_is_drawn_too():
    text = drawn(DNA.encode("NN"), np.full((2, 4), np.nan))
    assert "#b6bdc6" not in text
    assert "transform" not in text
