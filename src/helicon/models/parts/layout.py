"""How a published code lays its weights out in a file: one object each, which a family registers.

`helicon.models.convert` reads the file and does all that is the same for every code. A layout says
what is not: by which tensors it is known, what the sizes are, and what each tensor is called here.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from helicon.errors import InputError
from helicon.models.parts.heads import Problem

#: Of a file that holds two networks.
NetworkName = Literal["teacher", "student"]


@dataclass(frozen=True)
class Told:
    """What a file may leave open, and the user says; see `helicon.models.convert.convert`."""

    dilation: int | None = None
    stacks: int | None = None
    schedule: Literal["official", "paper"] | None = None
    problem: Problem | None = None
    network: NetworkName | None = None
    group: int | None = None


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was read.

    Attributes:
        path: the file, for messages.
        content: all that it holds.
        told: what the user said.
        weights: its tensors under our names.
    """

    path: Path
    content: Mapping[str, Any]
    told: Told
    weights: Mapping[str, Tensor]


class Layout(ABC):
    """A published layout.

    Attributes:
        name: of the code, for `--source`.
        title: what its networks are called.
        summary: for the model card.
        state: key of the file under which the tensors are; empty where the file holds them alone.
        known_by: a tensor that no other layout has, as a regular expression over whole names.
        renamed: official module -> ours, in regular expressions over whole prefixes of names.
        dropped: names of tensors that are no weights of a network, as regular expressions. A tensor
            that is neither renamed nor dropped makes the conversion fail.
        options: fields of `Told` that it reads.
        language: whether all its networks are language models; one without that head is then
            incomplete, and not a bare backbone.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    state: ClassVar[str]
    known_by: ClassVar[str]
    renamed: ClassVar[tuple[tuple[str, str], ...]]
    dropped: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[frozenset[str]] = frozenset()
    language: ClassVar[bool] = False

    @abstractmethod
    def config(self, opened: Opened) -> Any:
        """The backbone's config, from shapes, from what the file says and from what was told.

        Raises:
            InputError: the weights are another network's, or something has to be told.
        """

    def tensors(self, path: Path, content: Mapping[str, Any], told: Told) -> dict[str, Tensor]:
        """The tensors of the wanted network, under the file's names.

        Raises:
            InputError: the file has none.
        """
        return tensors_under(path, content, self.state)

    def about(self, told: Told) -> str:
        """What the model card says of the weights."""
        return self.summary

    def holds(self, content: Mapping[str, Any]) -> bool:
        """Whether a file has tensors where this layout keeps them."""
        return isinstance(content.get(self.state), dict)

    def recognises(self, content: Mapping[str, Any]) -> bool:
        """Whether a file is in this layout, by the names of its tensors."""
        return self.holds(content) and any(
            re.fullmatch(self.known_by, str(key)) for key in content[self.state]
        )

    def our_name(self, key: str) -> str | None:
        """Our name of an official tensor, or `None` for one that is not renamed."""
        module, _, kind = key.rpartition(".")
        for pattern, ours in self.renamed:
            if match := re.fullmatch(pattern, module):
                return f"{match.expand(ours)}.{kind}"
        return None

    def drops(self, key: str) -> bool:
        """Whether a tensor is no weight of a network."""
        return any(re.fullmatch(pattern, key) for pattern in self.dropped)


def tensors_under(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    """The tensors under a key of a file.

    Raises:
        InputError: there is no such key.
    """
    if not isinstance(content.get(key), dict):
        raise InputError(f"{path}: holds no network {key}; fetch it again, or take the other")
    return {str(name): value for name, value in content[key].items() if isinstance(value, Tensor)}
