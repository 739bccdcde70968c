"""The kinds of labelled data that there are, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helicon.alphabet import Alphabet
from helicon.archives import through
from helicon.training.kinds.contacts import Contacts
from helicon.training.kinds.kind import Kind
from helicon.training.kinds.positions import Positions
from helicon.training.kinds.residues import Residues
from helicon.training.kinds.sequences import Sequences
from helicon.training.run.options import Asked

#: Whoever adds a kind puts it in front: the last one recognises what no other has.
KINDS: list[type[Kind]] = [Contacts, Positions, Residues, Sequences]


def kinds() -> list[type[Kind]]:
    """The kinds, as a list of options names them: the most common first."""
    return [*reversed(KINDS)]


def recognised(data: Path, asked: Asked, alphabet: Alphabet) -> Kind:
    """The kind of a file, described by the options that were given.

    Args:
        data: the file.
        asked: the options of the data among them.
        alphabet: that the model reads.

    Raises:
        InputError: an option was given that this kind does not have.
    """
    options: Mapping[str, Any] = asked.of_data
    opened = through(data, "file to read (data)")
    kind = next(k for k in KINDS if k.recognises(opened, options, alphabet))
    return kind.of(data, options, asked, "finetune", f"and {data} holds {kind.what}")
