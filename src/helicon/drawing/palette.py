"""Colours by their role, for the light and the dark theme, in pages and in figures alike.

The two first series, and the two strands, stay apart under deuteranopia and protanopia; every
colour that carries text has a contrast of 4.5 or more on page and surface. Roles that share a
colour share it in both themes.
"""

from __future__ import annotations

#: Colours of the light theme, by role.
LIGHT = {
    "page": "#f6f6f3",
    "surface": "#ffffff",
    "ink": "#18202a",
    "muted": "#566270",
    "line": "#dcdfe3",
    "grid": "#e9ebee",
    "accent": "#1f5fb4",
    "code": "#f1f2f0",
    "series-1": "#1f5fb4",
    "series-2": "#9a6700",
    "series-3": "#0a7a6c",
    "series-4": "#8f46ab",
    "series-5": "#c2410c",
    "series-6": "#5f6b78",
    "forward": "#0a7a6c",
    "reverse": "#c2410c",
    "heat": "#6aa5ee",
}

#: Colours of the dark theme, by role.
DARK = {
    "page": "#0f141a",
    "surface": "#161c24",
    "ink": "#e7ebf0",
    "muted": "#9da9b7",
    "line": "#2d3641",
    "grid": "#242c36",
    "accent": "#6fadf8",
    "code": "#10161d",
    "series-1": "#6fadf8",
    "series-2": "#dbb949",
    "series-3": "#45c3a3",
    "series-4": "#cc92e2",
    "series-5": "#f5875a",
    "series-6": "#98a4b2",
    "forward": "#45c3a3",
    "reverse": "#f5875a",
    "heat": "#2a66b8",
}

THEMES = {"light": LIGHT, "dark": DARK}
#: Roles of series in their order.
SERIES = tuple(role for role in LIGHT if role.startswith("series-"))


def series_role(index: int) -> str:
    """Role of the colour of the series with this 0-based index; they repeat after six."""
    return SERIES[index % len(SERIES)]


def theme_css() -> str:
    """CSS with a variable for every role: the system's theme, unless `data-theme` wins."""
    light, dark = _variables("light"), _variables("dark")
    return (
        f":root{{{light}}}\n"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f":root[data-theme=dark]{{{dark}}}\n"
    )


def _variables(theme: str) -> str:
    colours = ";".join(f"--{role}:{colour}" for role, colour in THEMES[theme].items())
    return f"color-scheme:{theme};{colours}"
