"""Recipes: the options of a verb as a frozen dataclass, read from and written as TOML.

A recipe file has one table, named as the verb, with the verb's options as keys:

    description = "what this run is for"

    [pretrain]
    data = "genome.fa.gz"
    steps = 2000

The `recipe.toml` of a run folder is read likewise, to do the same run again.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tomli_w

from helicon.archives import through
from helicon.errors import InputError
from helicon.files import existing_file, sha256

#: What may stand beside the verb's table in a recipe file.
_BESIDE = {"description"}


class Recipe(Protocol):
    """A frozen dataclass of a verb's options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    verb: ClassVar[str]


Kind = TypeVar("Kind", bound=Recipe)


def picked(options: type, arguments: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The fields of a dataclass out of a function's arguments; texts serve as paths.

    Args:
        options: the dataclass.
        arguments: of the function.
        paths: names of the fields that are files to read.
    """
    values = {f.name: arguments[f.name] for f in dataclasses.fields(options)}
    for name in paths:
        if values[name] is not None:
            values[name] = through(Path(values[name]), f"file to read ({name})")
    return values


def file_hashes(options: object, paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of every file that is given, by the name of its field."""
    given = {name: getattr(options, name) for name in paths}
    return {name: sha256(path) for name, path in given.items() if path is not None}


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


def read_recipe(path: str | Path, kind: type[Kind]) -> Kind:
    """Read a recipe file, or a run folder's `recipe.toml`.

    Args:
        path: the file.
        kind: the dataclass of the verb.

    Raises:
        InputError: the file is missing or no TOML, has no table of the verb, an unknown key, a key
            that must be there but is not, or a value of the wrong type; names the file and key.
    """
    path = existing_file(path, "recipe")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML ({error}); correct it") from error
    if content.get("verb") == kind.verb and isinstance(content.get("recipe"), dict):
        return from_values(kind, content["recipe"], str(path))
    if not isinstance(content.get(kind.verb), dict):
        raise InputError(f"{path}: has no table [{kind.verb}]; the options belong under it")
    if unknown := sorted(content.keys() - _BESIDE - {kind.verb}):
        raise InputError(f"{path}: unknown key {unknown[0]!r}; move it under [{kind.verb}]")
    return from_values(kind, content[kind.verb], str(path))


def from_values(kind: type[Kind], values: Mapping[str, Any], where: str) -> Kind:
    """Make a recipe of parsed values; dashes in keys read as underscores.

    Args:
        kind: the dataclass of the verb.
        values: options by name.
        where: the file, for messages.

    Raises:
        InputError: see `read_recipe`.
    """
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    found = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")
        found[name] = checked(hints[name], value, f"{where}: {key}")
    for name, field in fields.items():
        if name not in found and field.default is dataclasses.MISSING:
            raise InputError(f"{where}: {name} is missing; give it")
    try:
        return kind(**found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def values_of(recipe: Recipe) -> dict[str, Any]:
    """The options of a recipe by name, without those that are `None`."""
    pairs = ((f.name, getattr(recipe, f.name)) for f in dataclasses.fields(recipe))
    return {name: value for name, value in pairs if value is not None}


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as the text of a recipe file."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in values_of(recipe).items()}
    return tomli_w.dumps({recipe.verb: plain})


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
