"""Results for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def to_json(result: Any) -> str:
    """A verb's result as one JSON object on one line.

    A result says itself what it is (`as_dict()`), or is a dataclass. Anything else is put under
    `result`. Numbers that JSON does not know (NaN, infinity) become `null`.
    """
    value = _plain(result)
    if not isinstance(value, dict):
        value = {"result": value}
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return _plain(value.as_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or a number of NumPy
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def aligned(rows: Iterable[Sequence[object]], *, indent: str = "  ") -> str:
    """Rows as lines with aligned columns; numbers stand on the right."""
    texts = [[_text(cell) for cell in row] for row in rows]
    right = [[isinstance(cell, int | float) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row, sides in zip(texts, right, strict=True):
        cells = zip(row, sides, widths, strict=True)
        lines.append(indent + "  ".join(t.rjust(w) if r else t.ljust(w) for t, r, w in cells))
    return "\n".join(line.rstrip() for line in lines)


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4g}" if abs(cell) < 1e4 else f"{cell:,.0f}"
    return "-" if cell is None else str(cell)
