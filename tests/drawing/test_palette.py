import itertools

import numpy as np
import pytest

from helicon.drawing.palette import THEMES, series_role, theme_css

# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as seen.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.052]]
)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    return linearised(rgb(colour))


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def linearised(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: np.ndarray, second: np.ndarray) -> float:
    low, high = sorted(float(linearised(c) @ XYZ[1]) for c in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(values: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(XYZ @ values / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", ["page", "surface", "code"])
def test_text_has_contrast(theme, ground):
    colours = THEMES[theme]
    for role in ("ink", "muted", "accent"):
        assert contrast(rgb(colours[role]), rgb(colours[ground])) >= 4.5, role


@pytest.mark.parametrize("theme", THEMES)
def test_marks_and_the_names_inside_genes_have_contrast(theme):
    colours = THEMES[theme]
    for role in ("forward", "reverse", *(series_role(i) for i in range(6))):
        assert contrast(rgb(colours[role]), rgb(colours["surface"])) >= 4.5, role


@pytest.mark.parametrize("theme", THEMES)
def test_numbers_on_every_shade_of_a_confusion_matrix_have_contrast(theme):
    colours = THEMES[theme]
    ink, heat = rgb(colours["ink"]), rgb(colours["heat"])
    for ground in (rgb(colours["surface"]), rgb(colours["grid"])):
        for share in np.linspace(0, 1, 21):
            assert contrast(ink, (1 - share) * ground + share * heat) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_series_and_strands_stay_apart_without_red_or_green(theme, vision):
    colours = THEMES[theme]
    pairs = [("forward", "reverse"), *itertools.combinations(["series-1", "series-2"], 2)]
    for first, second in pairs:
        seen = [lab(np.clip(vision @ linear(colours[r]), 0, 1)) for r in (first, second)]
        assert np.linalg.norm(seen[0] - seen[1]) > 25


def test_every_role_is_a_variable_of_both_themes():
    css = theme_css()
    assert THEMES["light"].keys() == THEMES["dark"].keys()
    for role in THEMES["light"]:
        assert css.count(f"--{role}:") == 3
    assert "prefers-color-scheme: dark" in css
    assert ":root[data-theme=dark]" in css
