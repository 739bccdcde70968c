"""Recipes: the options of a verb, checked, and written as TOML.

A recipe file has one table, named as the verb, with the verb's options as keys:

    description = "what this run is for"

    [pretrain]
    data = "genome.fa.gz"
    steps = 2000

The command line reads it (`--config`), and the `recipe.toml` of a run folder likewise, to do the
same run again.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import tomli_w

from helicon.errors import InputError


def check_counts(options: object, names: Iterable[str]) -> None:
    """Raise InputError for the first of the named options that is given and less than 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"{name}: must be at least 1, not {value}")


def check_run_length(steps: int | None, epochs: float | None, minutes: float | None) -> None:
    """Raise InputError if the length of a run is said twice, or is no length."""
    lengths = {"steps": steps, "epochs": epochs, "minutes": minutes}
    if len(given := [name for name, value in lengths.items() if value is not None]) > 1:
        raise InputError(f"give one of steps, epochs and minutes, not {' and '.join(given)}")
    if epochs is not None and not epochs > 0:
        raise InputError(f"epochs: must be more than 0, not {epochs}")


def to_toml(verb: str, values: Mapping[str, Any]) -> str:
    """Write the options of a verb as the text of a recipe file."""
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
    return tomli_w.dumps({verb: plain})


def checked(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`: text and paths serve as each other, an integer as a float.

    Raises:
        InputError: it is of another type.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        accepted, read = _as_kind(kind, value, where)
        if accepted:
            return read
    wanted = " or ".join(_name(kind) for kind in kinds if kind is not types.NoneType)
    raise InputError(f"{where}: must be {wanted}, not {value!r}")


def _as_kind(kind: Any, value: Any, where: str) -> tuple[bool, Any]:
    """Whether a value is of one kind, and the value as that kind."""
    if get_origin(kind) is Literal:
        return value in get_args(kind), value
    if get_origin(kind) is list and isinstance(value, list):
        (part,) = get_args(kind)
        return True, [checked(part, item, where) for item in value]
    if get_origin(kind) is dict and isinstance(value, dict):
        part = get_args(kind)[1]
        return True, {key: checked(part, item, f"{where}.{key}") for key, item in value.items()}
    if kind in (Path, str) and isinstance(value, str | Path):
        return True, kind(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return True, float(value)
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return True, int(value)
    return type(value) is kind, value


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    names |= {Path: "a path"}
    if get_origin(kind) is list:
        return f"a list, each {_name(get_args(kind)[0])}"
    return names.get(kind, "a table")


#: A value of a table of settings.
Option = bool | int | float | str
