"""What a file says itself about which rows train, choose and test, as FLIP's files ship it.

Tables have a column `set` (or `split`) that says `train` or `test`, and perhaps a column
`validation` that marks some of the training rows; FASTA headers say the same as
`SET=train VALIDATION=False`. A column `set` that holds other words altogether is an ordinary
column; one that holds both is refused, so that no row for testing is ever trained on by mistake.

FLIP: Dallago et al., "FLIP: Benchmark tasks in fitness landscape inference for proteins", 2021.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from helicon.errors import InputError

#: What a row is for, in the order of use.
PARTS = ("train", "validation", "test")

_SETS = ("set", "split")
_MARK = "validation"
_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_YES, _NO = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0", "", "nan", "none")
_FIELD = re.compile(r"(?:^|(?<=\s))([A-Za-z_]\w*)=(\S*)")


def part_named(word: str) -> str:
    """The one of `PARTS` that a word means (`valid` is `validation`).

    Raises:
        InputError: it means none.
    """
    if (part := _WORDS.get(word.lower())) is None:
        raise InputError(f"part: {word!r} is not known; choose {', '.join(PARTS)} or all")
    return part


def header_fields(description: str) -> dict[str, str]:
    """Fields `KEY=value` of a FASTA header, by their names in lower case."""
    return {key.lower(): value for key, value in _FIELD.findall(description)}


def division_columns(columns: Iterable[str], taken: Collection[str] = ()) -> list[str]:
    """Columns that may divide the rows, by their names.

    Args:
        columns: all names.
        taken: those that mean something else (the sequence, the target).
    """
    names = (*_SETS, _MARK)
    return [name for name in columns if name.lower() in names and name not in taken]


def parts_of(columns: dict[str, pl.Series], where: Callable[[int], str]) -> NDArray[np.str_] | None:
    """Which of `PARTS` each row belongs to.

    Args:
        columns: as `division_columns` found them, n values each.
        where: names a row for a message.

    Returns:
        (n,), or `None` where no column divides the rows.

    Raises:
        InputError: a row says nothing, or nothing that is known; or two columns divide the rows.
    """
    texts = {name: _text(series) for name, series in columns.items()}
    sets = {
        name: text
        for name, text in texts.items()
        if name.lower() in _SETS and text.is_in(list(_WORDS)).any()
    }
    if not sets:
        return None
    if len(sets) > 1:
        raise InputError(
            f"{where(0)}: two columns say which rows train and test ({', '.join(sets)}); remove one"
        )
    ((name, text),) = sets.items()
    _refuse(~text.is_in(list(_WORDS)), text, name, "train, validation or test", where)
    parts = np.array(PARTS)[text.replace_strict({w: PARTS.index(p) for w, p in _WORDS.items()})]
    for mark in (name for name in texts if name.lower() == _MARK):
        marked = texts[mark].is_in(_YES)
        _refuse(~marked & ~texts[mark].is_in(_NO), texts[mark], mark, "True or False", where)
        parts[marked.to_numpy() & (parts == "train")] = "validation"
    return parts


def _text(series: pl.Series) -> pl.Series:
    return series.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()


def _refuse(
    wrong: pl.Series, text: pl.Series, name: str, words: str, where: Callable[[int], str]
) -> None:
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        said = repr(text[row]) if text[row] else "nothing"
        raise InputError(
            f"{where(row)}: the column {name!r} says {said}, not {words}; correct it, so that no "
            "row for testing is trained on"
        )
