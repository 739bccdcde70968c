"""The configs of backbones: frozen dataclasses, and dictionaries that JSON and TOML can hold."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from helicon.errors import InputError


@runtime_checkable
class BackboneConfig(Protocol):
    """The frozen dataclass that determines a backbone."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def alphabet(self) -> str:
        """Name of the alphabet that the backbone reads."""

    @property
    def d_model(self) -> int:
        """Channels of the backbone's output."""


def config_to_dict(config: BackboneConfig) -> dict[str, Any]:
    """Every field of a config, as JSON and TOML can hold it."""
    return dataclasses.asdict(config)


def whole(name: str, cls: type[Any], values: Mapping[str, object]) -> Any:
    """The config that `config_to_dict` wrote.

    Every field must be there: a default that stood in for a lost field would build another
    network than the one whose weights are loaded.

    Args:
        name: what the config is of, for messages.
        cls: the config's dataclass.
        values: every field.

    Raises:
        InputError: names the unknown or missing key, or the key whose value has the wrong type.
    """
    fields = checked(name, cls, values)
    if missing := [f.name for f in dataclasses.fields(cls) if f.name not in fields]:
        raise InputError(f"{name} config: {', '.join(missing)} missing; write every field")
    return cls(**fields)


def checked(name: str, cls: type[Any], values: Mapping[str, object]) -> dict[str, object]:
    """Some fields of a config, of the right types (an integer also serves as a float).

    Args:
        name: what the config is of, for messages.
        cls: the config's dataclass.
        values: fields.

    Raises:
        InputError: names the unknown key, or the key whose value has the wrong type.
    """
    hints = get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise InputError(f"{name} config: unknown key {key!r}; known are {', '.join(known)}")
    return {key: _of_type(f"{name} config: {key}", hints[key], v) for key, v in values.items()}


def _of_type(what: str, hint: Any, value: object) -> object:
    """`value` if it is of the type `hint` (an integer also serves as a float)."""
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        wanted = " or ".join(map(repr, get_args(hint)))
    else:
        accepted = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        if type(value) in accepted:
            return value
        if type(value) is int and float in accepted:
            return float(value)
        wanted = " or ".join(getattr(t, "__name__", str(t)) for t in accepted)
    raise InputError(f"{what} must be {wanted}, not {value!r}")
