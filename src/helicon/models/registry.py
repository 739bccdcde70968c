"""The families of networks, the named sizes, and construction from a name or a saved config."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping

from helicon.errors import InputError
from helicon.models.bytenet import family as bytenet
from helicon.models.chordmixer import family as chordmixer
from helicon.models.convnova import family as convnova
from helicon.models.parts.backbone import Backbone
from helicon.models.parts.config import BackboneConfig, checked, config_to_dict, whole
from helicon.models.parts.family import Checkpoint, Family
from helicon.models.parts.layout import Layout
from helicon.models.transformer import family as transformer

__all__ = [
    "CHECKPOINTS",
    "FAMILIES",
    "SIZES",
    "BackboneConfig",
    "architecture_of",
    "backbone",
    "config_from_dict",
    "config_to_dict",
    "configured",
    "family",
    "layouts",
    "pretrained_at",
    "register",
    "size",
    "unknown_size",
]

#: Every family by the name of its architecture, named sizes, and published weights by name.
FAMILIES: dict[str, Family] = {}
SIZES: dict[str, BackboneConfig] = {}
CHECKPOINTS: dict[str, Checkpoint] = {}


def register(family: Family) -> None:
    """Take up a family: every objective, head and verb then knows it."""
    FAMILIES[family.name] = family
    SIZES.update(family.sizes)
    CHECKPOINTS.update(family.checkpoints)


for _family in (convnova.FAMILY, bytenet.FAMILY, chordmixer.FAMILY, transformer.FAMILY):
    register(_family)


def backbone(name_or_config: str | BackboneConfig, **overrides: object) -> Backbone:
    """Build a backbone with new weights, drawn from torch's global generator.

    Args:
        name_or_config: a named size, or a config of any architecture.
        **overrides: fields of the config that differ, `d_model=48` for one.

    Raises:
        InputError: the name, a field or a value's type is unknown; names those that are known.
    """
    config = configured(name_or_config, **overrides)
    return FAMILIES[architecture_of(config)].backbone(config)


def configured(name_or_config: str | BackboneConfig, **overrides: object) -> BackboneConfig:
    """The config of a named size (or the one given) with some fields changed; see `backbone`."""
    config = size(name_or_config) if isinstance(name_or_config, str) else name_or_config
    values = checked(architecture_of(config), type(config), overrides)
    return dataclasses.replace(config, **values)


def pretrained_at(config: BackboneConfig, length: int) -> BackboneConfig:
    """The config with what it takes over from a pretraining length.

    Args:
        config: of a network with new weights.
        length: positions of a sequence in pretraining at most, CLS tokens included.
    """
    return FAMILIES[architecture_of(config)].backbone.pretrained_at(config, length)


def layouts() -> dict[str, Layout]:
    """The published layouts of all families, by the name of their code."""
    return {one.name: one for family in FAMILIES.values() for one in family.layouts}


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
    return next(name for name, one in FAMILIES.items() if type(config) is one.config)


def family(name: str) -> Family:
    """The family of an architecture.

    Raises:
        InputError: there is no such architecture; names those known.
    """
    if name not in FAMILIES:
        raise InputError(f"architecture {name!r} is unknown; known are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def config_from_dict(name: str, values: Mapping[str, object]) -> BackboneConfig:
    """The config that `config_to_dict` wrote; see `helicon.models.parts.config.whole`.

    Args:
        name: the architecture.
        values: every field of its config.

    Raises:
        InputError: names the unknown or missing key, or the key whose value has the wrong type.
    """
    return whole(name, family(name).config, values)
