"""A family of networks: all that the rest of the house asks of it, in one object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helicon.files import cache_folder
from helicon.models.parts.backbone import Backbone
from helicon.models.parts.layout import Layout

#: Environment variable with the http address of a folder that holds the published files under
#: their names, in place of their public homes.
MIRROR = "HELICON_MIRROR"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint. How many bytes it has is not published.

    Attributes:
        name: the named size whose weights they are.
        address: its public address.
        file: its name.
        sha256: its checksum, 64 hexadecimal digits.
        source: the name of its layout.
    """

    name: str
    address: str
    file: str
    sha256: str
    source: str

    @property
    def url(self) -> str:
        """Where it is fetched from: its public address, or a mirror."""
        mirror = os.environ.get(MIRROR)
        return f"{mirror.rstrip('/')}/{self.file}" if mirror else self.address

    @property
    def folder(self) -> Path:
        """Where it is kept on this machine."""
        return cache_folder() / "models" / self.name


@dataclass(frozen=True)
class Family:
    """What a folder of `helicon.models` offers, and `helicon.models.registry` takes up.

    Attributes:
        backbone: the network; `backbone.architecture` is the family's name.
        config: the frozen dataclass that determines it, with a default for every field: the
            published model.
        sizes: named sizes.
        layouts: published layouts of its weights.
        checkpoints: published weights, by the named size that means them.
    """

    backbone: type[Backbone]
    config: type[Any]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    layouts: tuple[Layout, ...] = ()
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The architecture's name."""
        return self.backbone.architecture
