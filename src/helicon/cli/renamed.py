"""Options whose names have changed: the old one is read for one version more, and a line says so.

Add a row to `RENAMED`; it holds for the words of the command line and for the keys of a recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

#: The new names of options by verb and old name, as Python writes them.
RENAMED: dict[str, dict[str, str]] = {
    "evaluate": {"rc_average": "both_strands"},
    "finetune": {"rc_average": "both_strands", "train": "data"},
    "probe": {"train": "data"},
    "pretrain": {"validation": "valid_chromosomes", "test": "test_chromosomes"},
}


def current_words(words: Sequence[str]) -> list[str]:
    """A command line in today's names: `--rc-average` becomes `--both-strands`.

    Args:
        words: the verb and its options.
    """
    names = RENAMED.get(words[0], {}) if words else {}
    return [_current(word, names) for word in words]


def current_keys(verb: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A verb's table of a recipe in today's names."""
    names, found = RENAMED.get(verb, {}), {}
    for key, value in values.items():
        new = names.get(key.replace("-", "_"))
        if new is not None:
            _say(f"the key {key}", new)
        found[new or key] = value
    return found


def _current(word: str, names: Mapping[str, str]) -> str:
    option, equals, value = word.partition("=")
    if not option.startswith("--"):
        return word
    name = option[2:].replace("-", "_")
    no = "no-" if name.startswith("no_") else ""
    new = names.get(name.removeprefix("no_"))
    if new is None:
        return word
    dashed = new.replace("_", "-")
    _say(option, f"--{no}{dashed}")
    return f"--{no}{dashed}{equals}{value}"


def _say(old: str, new: str) -> None:
    print(f"helicon: {old} is now called {new}", file=sys.stderr, flush=True)
