"""The architectures, the named sizes, and typed construction from a name or a saved dictionary."""

from __future__ import annotations

import dataclasses
import difflib
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
from helicon.models.bytenet.network import ByteNet, ByteNetConfig
from helicon.models.chordmixer.network import ChordMixer, ChordMixerConfig
from helicon.models.convnova.network import ConvNova, ConvNovaConfig
from helicon.models.parts.backbone import Backbone
from helicon.models.transformer.network import Transformer, TransformerConfig


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


#: Every architecture: its backbone and its config, whose defaults are the published model.
ARCHITECTURES: dict[str, tuple[type[Backbone], type[Any]]] = {
    "convnova": (ConvNova, ConvNovaConfig),
    "bytenet": (ByteNet, ByteNetConfig),
    "chordmixer": (ChordMixer, ChordMixerConfig),
    "transformer": (Transformer, TransformerConfig),
}

#: Named sizes. The plain name and `-base` are the published pretraining configuration; the
#: published downstream configurations drop the feed-forward layers. A Transformer has about as many
#: parameters as the ConvNova or CARP whose size it is named after.
SIZES: dict[str, BackboneConfig] = {
    "convnova-tiny": ConvNovaConfig(d_model=32),
    "convnova-small": ConvNovaConfig(d_model=64),
    "convnova-base": ConvNovaConfig(),
    "convnova": ConvNovaConfig(),
    "convnova-nt": ConvNovaConfig(feed_forward=False),
    "convnova-genomic-benchmarks": ConvNovaConfig(
        d_model=64, kernel=5, mlp_ratio=4, feed_forward=False
    ),
    "carp-600k": ByteNetConfig(d_model=128, blocks=16, slim=True),
    "carp-38m": ByteNetConfig(d_model=1024, blocks=16, slim=True),
    "carp-76m": ByteNetConfig(d_model=1024, blocks=32, slim=True),
    "carp-640m": ByteNetConfig(),
    "carp": ByteNetConfig(),
    "protein-cnn": ByteNetConfig(d_model=96, blocks=2, max_dilation=2),
    "findna-tiny": ChordMixerConfig(group=6, layers=2, hidden=128),
    "findna": ChordMixerConfig(),
    "chordmixer": ChordMixerConfig(),
    "transformer-tiny": TransformerConfig(d_model=48, heads=3),
    "transformer-small": TransformerConfig(d_model=96, heads=3),
    "transformer-base": TransformerConfig(),
    "transformer": TransformerConfig(),
    "transformer-600k": TransformerConfig("protein", d_model=128, blocks=3, heads=4),
    "transformer-38m": TransformerConfig("protein", d_model=512, blocks=12, heads=8),
}


def backbone(name_or_config: str | BackboneConfig, **overrides: object) -> Backbone:
    """Build a backbone with new weights, drawn from torch's global generator.

    Args:
        name_or_config: a named size, or a config of any architecture.
        **overrides: fields of the config that differ, `d_model=48` for one.

    Raises:
        InputError: the name, a field or a value's type is unknown; names those that are known.
    """
    config = configured(name_or_config, **overrides)
    return ARCHITECTURES[architecture_of(config)][0](config)


def configured(name_or_config: str | BackboneConfig, **overrides: object) -> BackboneConfig:
    """The config of a named size (or the one given) with some fields changed; see `backbone`."""
    config = size(name_or_config) if isinstance(name_or_config, str) else name_or_config
    values = _checked_values(architecture_of(config), overrides)
    return dataclasses.replace(config, **values)


def pretrained_at(config: BackboneConfig, length: int) -> BackboneConfig:
    """The config with what it takes over from a pretraining length.

    That is the circle of a ChordMixer, if it has one that was not told.

    Args:
        config: of a network with new weights.
        length: positions of a sequence in pretraining at most, CLS tokens included.
    """
    if isinstance(config, ChordMixerConfig) and config.wrap and not config.circle:
        return dataclasses.replace(config, circle=length)
    return config


def size(name: str) -> BackboneConfig:
    """The config of a named size.

    Raises:
        InputError: there is no such size; names the nearest, or all.
    """
    if name not in SIZES:
        raise unknown_size(name)
    return SIZES[name]


def unknown_size(name: str) -> InputError:
    """The error that there is no such named size; names the nearest, or all."""
    near = difflib.get_close_matches(name, SIZES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(SIZES)}"
    return InputError(f"model {name!r}: no such named size; {hint}")


def architecture_of(config: BackboneConfig) -> str:
    """The name of the architecture that a config belongs to."""
    return next(name for name, (_, cls) in ARCHITECTURES.items() if type(config) is cls)


def architecture(name: str) -> tuple[type[Backbone], type[Any]]:
    """The backbone and config classes of an architecture.

    Raises:
        InputError: there is no such architecture; names those known.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"architecture {name!r} is unknown; known are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def config_to_dict(config: BackboneConfig) -> dict[str, Any]:
    """Every field of a config, as JSON and TOML can hold it."""
    return dataclasses.asdict(config)


def config_from_dict(name: str, values: Mapping[str, object]) -> BackboneConfig:
    """The config that `config_to_dict` wrote.

    Every field must be there: a default that stood in for a lost field would build another
    network than the one whose weights are loaded.

    Args:
        name: the architecture.
        values: every field of its config.

    Raises:
        InputError: names the unknown or missing key, or the key whose value has the wrong type.
    """
    checked = _checked_values(name, values)
    cls = architecture(name)[1]
    if missing := [f.name for f in dataclasses.fields(cls) if f.name not in checked]:
        raise InputError(f"{name} config: {', '.join(missing)} missing; write every field")
    return cls(**checked)


def _checked_values(name: str, values: Mapping[str, object]) -> dict[str, object]:
    cls = architecture(name)[1]
    hints = get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise InputError(f"{name} config: unknown key {key!r}; known are {', '.join(known)}")
    return {key: _checked(f"{name} config: {key}", hints[key], v) for key, v in values.items()}


def _checked(what: str, hint: Any, value: object) -> object:
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
