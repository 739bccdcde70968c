"""Columns of labels read as numbers or as text, by one rule for every kind of file.

- Numbers of any type (Decimal among them) are numbers, and so is a column of texts that all are.
- Booleans, and texts that are all `true` or `false` in any case, are 1 and 0.
- Numbers may have a decimal comma where semicolons or tabs separate the fields.
- A label that is missing is refused. `MISSING` and `nan` are always missing; `UNSAID` are missing
  where the other labels are numbers, and names of classes where they are words.
- Everything else is text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.errors import InputError

#: Texts that stand for what is not there; so do `nan` and `null` in any case.
MISSING = ("", "NA", "N/A", "#N/A", "<NA>")
#: Texts in lower case that stand for what is not there among numbers.
UNSAID = ("none", "na", "n/a", "-", "--", "?", ".")

_NAN = ("nan", "-nan", "null")
_DECIMAL_COMMA = r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$"

#: int64, float64 or text.
Labels = NDArray[Any]
#: Names a row of the file, for messages.
Where = Callable[[int], str]


def label_column(series: pl.Series, name: str, where: Where, *, decimal_comma: bool) -> Labels:
    """Read a column (n,) of labels; the module's docstring says how.

    Args:
        series: as it stands in the file.
        name: the column's, for messages.
        where: names a row.
        decimal_comma: whether `0,5` is a number.

    Raises:
        InputError: a label is missing, has a decimal comma where there should be none, or is
            neither number nor text; names the row.
    """
    values = _values(series, name, where, decimal_comma)
    if values.null_count():
        rows = np.flatnonzero(values.is_null().to_numpy())
        said = series[int(rows[0])]
        shown = f" ({said.strip()})" if isinstance(said, str) and said.strip() else ""
        raise InputError(
            f"{where(rows[0])}: the label in {name!r} is missing{shown}{count_of(rows)}; "
            "fill it in or remove the row"
        )
    if values.dtype != pl.String:
        return values.to_numpy()
    words = values.rechunk().to_arrow().dictionary_encode()
    return np.array(words.dictionary.to_pylist(), np.str_)[words.indices.to_numpy()]


def number_column(
    series: pl.Series, name: str, where: Where, *, decimal_comma: bool
) -> NDArray[np.float64]:
    """Read a column (n,) of numbers in the same way, NaN where one is missing.

    Raises:
        InputError: a text is no number; names the row.
    """
    values = _values(series, name, where, decimal_comma)
    if values.dtype == pl.String and len(values) > values.null_count():
        wrong = _dotted(values).is_null() & values.is_not_null()
        row = int(wrong.arg_max() or 0)
        raise InputError(
            f"{where(row)}: {values[row]!r} in the column {name!r} is no number; correct it"
        )
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _values(series: pl.Series, name: str, where: Where, decimal_comma: bool) -> pl.Series:
    """A column as int64, float64 or text, null where a label is missing."""
    kind = series.dtype
    if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
        return _of_texts(series.cast(pl.String).str.strip_chars(), name, where, decimal_comma)
    if kind.is_integer() or kind in (pl.Boolean, pl.Null):
        whole = series.cast(pl.Int64, strict=False)
        if whole.null_count() == series.null_count():
            return whole
    if not kind.is_numeric():
        raise InputError(
            f"{where(0)}: the column {name!r} holds {kind}; numbers or text are wanted"
        )
    return series.cast(pl.Float64).fill_nan(None)


def _of_texts(texts: pl.Series, name: str, where: Where, decimal_comma: bool) -> pl.Series:
    low = texts.str.to_lowercase()
    missing = texts.is_null() | texts.is_in(list(MISSING)) | low.is_in(list(_NAN))
    unsaid = missing | low.is_in(list(UNSAID))
    read = _numbers(texts.set(unsaid.fill_null(True), None), name, where, decimal_comma)
    return texts.set(missing.fill_null(True), None) if read is None else read


def _numbers(texts: pl.Series, name: str, where: Where, decimal_comma: bool) -> pl.Series | None:
    """Texts as int64 or float64, null where they are; `None` where one is no number.

    Raises:
        InputError: there are decimal commas where there should be none.
    """
    missing = texts.null_count()
    if missing == len(texts):
        return None
    switches = texts.str.to_lowercase()
    if switches.is_in(["true", "false"]).fill_null(True).all():
        return (switches == "true").cast(pl.Int64)
    for kind in (pl.Int64, pl.Float64):
        numbers = texts.cast(kind, strict=False)
        if numbers.null_count() == missing:
            return numbers
    numbers = _dotted(texts)
    if numbers.null_count() > missing:
        return None
    if decimal_comma and not texts.str.contains(".", literal=True).any():
        return numbers
    row = int(texts.str.contains(",", literal=True).fill_null(False).arg_max() or 0)
    why = "while others have a point" if decimal_comma else "which is read beside semicolons only"
    raise InputError(
        f"{where(row)}: {texts[row]!r} in the column {name!r} has a decimal comma, {why}; write "
        f"{texts[row].replace(',', '.')}, or words where classes are meant"
    )


def _dotted(texts: pl.Series) -> pl.Series:
    """Texts as float64, a decimal comma read as a point; null where one is no number."""
    return texts.str.replace(_DECIMAL_COMMA, "${1}.${2}").cast(pl.Float64, strict=False)


def first_text(labels: Labels) -> int:
    """Row of the first text that is no number; labels (n,) must hold one."""
    unique, rows = np.unique(labels, return_index=True)
    return int(rows[_dotted(pl.Series(unique.tolist())).is_null().to_numpy()].min())


def stray_text(labels: Labels) -> int | None:
    """Row of the first text among labels (n,) that are numbers else, some with a fraction.

    Whole numbers beside words may be names of classes (`1`, `2`, `X`); fractions never are.
    """
    unique, rows, times = np.unique(labels, return_index=True, return_counts=True)
    numbers = _dotted(pl.Series(unique.tolist(), dtype=pl.String))
    known = numbers.is_not_null().to_numpy()
    values = np.nan_to_num(numbers.fill_null(0).to_numpy())
    if not (values % 1 != 0).any() or 2 * times[known].sum() < len(labels):
        return None
    return int(rows[~known].min())


def count_of(rows: NDArray[np.int64]) -> str:
    """How many rows are like the first, for messages."""
    return f" ({len(rows):,} rows are like this)" if len(rows) > 1 else ""
