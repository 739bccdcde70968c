"""Frozen dataclasses to JSON and back, so that a report can be made again from files alone.

Numbers that are not finite become null, and read as NaN where a field is a float.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from helicon.errors import InputError
from helicon.files import existing_file, write_aside

Record = TypeVar("Record")

#: Points of a curve: pairs of step and value.
Curve = tuple[tuple[float, float], ...]


def logged(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    """A measure in the rows of a run's log; what could not be measured (null there) is NaN."""
    found = ((float(row["step"]), row[name]) for row in rows if name in row)
    return tuple((step, math.nan if value is None else float(value)) for step, value in found)


def write_record(record: Any, path: str | Path) -> Path:
    """Write a dataclass of dataclasses, tuples, mappings, text and numbers as JSON."""
    path = Path(path)
    with write_aside(path) as aside:
        aside.write_text(json.dumps(_plain(record), ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_record(kind: type[Record], path: str | Path) -> Record:
    """Read what `write_record` wrote.

    Raises:
        InputError: the file is missing, no JSON, or lacks a field or has one too many.
    """
    path = existing_file(path, "results file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _typed(kind, content, "results")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: is no results file of this version ({error}); run again to write a new one"
        ) from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _typed(kind: Any, content: Any, where: str) -> Any:
    """Turn parsed JSON into `kind`; `where` names the place for a message."""
    if kind is Any:
        return content
    if get_origin(kind) in (Union, types.UnionType):
        if content is None:
            return None
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, _checked(content, dict, where), where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), _checked(content, list, where), where)
    if get_origin(kind) is dict:
        part = get_args(kind)[1]
        items = _checked(content, dict, where).items()
        return {key: _typed(part, value, f"{where}.{key}") for key, value in items}
    if kind is float:
        return math.nan if content is None else float(_checked(content, int | float, where))
    return _checked(content, kind, where)


def _record(kind: type, content: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    if unknown := content.keys() - hints.keys():
        raise ValueError(f"{where} has the unknown field {sorted(unknown)[0]!r}")
    return kind(
        **{key: _typed(hints[key], part, f"{where}.{key}") for key, part in content.items()}
    )


def _tuple(kinds: tuple[Any, ...], content: list[Any], where: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_typed(kinds[0], part, where) for part in content)
    pairs = zip(kinds, content, strict=True)
    return tuple(_typed(kind, part, where) for kind, part in pairs)


def _checked(content: Any, kind: Any, where: str) -> Any:
    if not isinstance(content, kind):
        raise ValueError(f"{where} is {type(content).__name__}, not what belongs there")
    return content
