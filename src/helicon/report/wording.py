"""Numbers in words: durations, lengths of sequence, memory, and tables of settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

#: Names under which results are stored, as a page says them.
_LABELS = {
    "seconds": "time",
    "peak_memory_mb": "peak memory",
    "peak_gpu_memory_mb": "peak GPU memory",
    "lr": "learning rate",
    "waited_seconds": "time waiting for data",
    "mcc": "MCC",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "mean_auroc": "mean AUROC",
    "rmse": "RMSE",
    "r2": "R²",
    "bases_per_second": "bases per second",
    "bases": "bases seen",
    "residues_per_second": "residues per second",
    "residues": "residues seen",
    "real_fraction": "share of real positions",
    "carp_loss": "loss with CARP's targets",
    **{
        f"{reach}_precision_{cut}": f"{said} precision at {pairs}"
        for reach, said in (
            ("short", "short-range"),
            ("medium", "medium-range"),
            ("long", "long-range"),
            ("all", "whole"),
        )
        for cut, pairs in (("l", "L"), ("l2", "L/2"), ("l5", "L/5"))
    },
}


def duration(seconds: float) -> str:
    """Seconds as `4.2 s`, `43 s`, `7 min 12 s` or `2 h 05 min`, in one piece."""
    whole = round(seconds)
    if seconds < 10:
        text = f"{seconds:.1f} s"
    elif whole < 60:
        text = f"{whole} s"
    elif whole < 3600:
        text = f"{whole // 60} min {whole % 60:02d} s"
    else:
        text = f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
    return text.replace(" ", "\u00a0")


def bases(count: float) -> str:
    """A number of bases as `930 bp`, `50 kb`, `4.94 Mb` or `3.1 Gb`."""
    for size, unit in ((1e9, "Gb"), (1e6, "Mb"), (1e3, "kb")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,.0f} bp"


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 as a percentage."""
    return f"{100 * share:.{digits}f}\u00a0%" if math.isfinite(share) else "NaN"


def label(name: str) -> str:
    """The name of a stored value, for reading."""
    head, _, tail = name.partition("/")
    said = _LABELS.get(head) or head.replace("_", " ")
    if head == "f1":
        said = "F1"
    return f"{said} {tail}".strip()


def value(name: str, content: Any) -> str:
    """A stored value, for reading; the name says its unit."""
    if content is None:
        return "–"
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, int | float):
        if name == "seed":
            return str(content)
        if name.endswith("seconds"):
            return duration(content)
        if name.endswith("_mb"):
            return f"{content:,.0f} MB"
        return number(content)
    if isinstance(content, list | tuple):
        return ", ".join(value("", part) for part in content)
    return str(content)


def number(content: float) -> str:
    """A number as short as reading it allows: whole ones in full, others to four digits."""
    if float(content).is_integer() and abs(content) < 1e15:
        return f"{content:,.0f}"
    return f"{content:,.4g}" if abs(content) < 1e4 else f"{content:,.0f}"


def measure(content: float, digits: int) -> str:
    """A measure with fixed decimals; counts in full, large values to four digits."""
    if isinstance(content, int) or abs(content) >= 1000:
        return f"{content:,.0f}"
    return f"{content:.{digits}f}" if abs(content) < 10 else f"{content:.4g}"


def facts(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Pairs of name and value of nested settings, the names of inner tables in front.

    Names inside a table stay as they are (files, libraries, options); what is empty is left out.
    """
    for key, part in content.items():
        name = f"{before}{key}" if before else label(str(key))
        if isinstance(part, Mapping):
            yield from facts(part, f"{name}: ")
        elif part is not None and part not in ("", [], ()):
            yield name, value(str(key), part)
