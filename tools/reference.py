"""The parts of the documentation that are made from the program itself.

mkdocs calls `on_page_markdown` for every page: a line `<!-- command: VERB -->` becomes the
synopsis, description and options of a command, `<!-- recipe: VERB -->` the keys of its table in a
recipe, `<!-- sizes -->` the named sizes. All of it is read from signatures, docstrings and
registries, so no page can fall behind the program.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
from cyclopts import App

from helicon.cli.application import VERBS, application
from helicon.models.info import info
from helicon.models.registry import SIZES

_MARK = re.compile(r"^<!-- (command|recipe|sizes)(?:: ([a-z ]+))? -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the generated parts of a page; called by mkdocs."""
    makers: dict[str, Callable[[str], str]] = {
        "command": command_section,
        "recipe": recipe_table,
        "sizes": lambda _: sizes_table(),
    }
    return _MARK.sub(lambda found: makers[found[1]](found[2]), markdown)


@dataclass(frozen=True)
class Option:
    """A parameter of a command.

    Attributes:
        name: in Python and in a recipe.
        positional: whether the command line takes it by position too.
        hint: its type.
        default: as Python writes it; `inspect.Parameter.empty` where it must be given.
        meaning: what its docstring says.
    """

    name: str
    positional: bool
    hint: Any
    default: Any
    meaning: str

    @property
    def words(self) -> list[str]:
        """What the command line calls it."""
        kebab = self.name.replace("_", "-")
        words = [f"--{kebab}"]
        if bool in _kinds(self.hint):
            words.append(f"--no-{kebab}")
        return words

    @property
    def shown_default(self) -> str:
        """The default as TOML writes it."""
        if self.default is inspect.Parameter.empty:
            return "required"
        if self.default is None:
            return ""
        written = f'"{self.default}"' if isinstance(self.default, str) else str(self.default)
        return f"`{written.lower() if isinstance(self.default, bool) else written}`"


def functions() -> dict[str, Callable[..., Any]]:
    """The function of every command, by the command's words: `pretrain`, `data list`."""
    root = application(list(VERBS))
    found: dict[str, Callable[..., Any]] = {}
    for verb in VERBS:
        found |= _functions(verb, root[verb])
    return found


def _functions(words: str, app: App) -> dict[str, Callable[..., Any]]:
    if app.default_command is not None:
        return {words: app.default_command}
    below = [name for name in app if not name.startswith("-")]
    return {f"{words} {name}": app[name].default_command for name in below}  # type: ignore[misc]


def options(command: str) -> list[Option]:
    """The parameters of a command, in order."""
    function = functions()[command]
    hints = get_type_hints(function)
    meanings = {
        p.arg_name: " ".join((p.description or "").split())
        for p in docstring_parser.parse(function.__doc__ or "").params
    }
    return [
        Option(name, p.kind is not p.KEYWORD_ONLY, hints[name], p.default, meanings[name])
        for name, p in inspect.signature(function).parameters.items()
    ]


def command_section(command: str) -> str:
    """The synopsis, description and options of a command."""
    doc = docstring_parser.parse(functions()[command].__doc__ or "")
    found = options(command)
    words = [o.name.upper() for o in found if o.positional]
    required = [
        f"--{o.name.replace('_', '-')} {o.name.upper()}"
        for o in found
        if not o.positional and o.default is inspect.Parameter.empty
    ]
    usage = " ".join(["helicon", command, *words, *required, "[OPTIONS]"])
    rows = [(_first_column(o), _type(o.hint), o.shown_default, o.meaning) for o in found]
    parts = [
        f"```console\n{usage}\n```",
        doc.short_description or "",
        doc.long_description or "",
        _table(("Option", "Values", "Default", "Meaning"), rows) if rows else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _first_column(option: Option) -> str:
    words = [f"`{word}`" for word in option.words]
    return " ".join([f"`{option.name.upper()}`", *words] if option.positional else words)


def recipe_table(verb: str) -> str:
    """The keys of a verb's table in a recipe."""
    rows = [(f"`{o.name}`", _type(o.hint), o.shown_default, o.meaning) for o in options(verb)]
    return _table(("Key", "Values", "Default", "Meaning"), rows)


def sizes_table() -> str:
    """The named sizes, with what `helicon info` says of each."""
    rows = []
    for name in SIZES:
        found = info(name)
        field = "all" if found.receptive_field is None else f"{found.receptive_field:,}"
        work = f"{found.flops_per_letter / 1e6:.2f}"
        parameters = f"{found.backbone_parameters:,}"
        rows.append((f"`{name}`", str(found.d_model), parameters, field, work))
    head = ("Name", "Channels", "Parameters of the backbone", "Receptive field", "MFLOP a letter")
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in lines
    )


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a type, without `None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for kind in get_args(hint) if kind is not types.NoneType)
    return (hint,)


def _type(hint: Any) -> str:
    """A type in words."""
    kinds = [kind for kind in _kinds(hint) if not (kind is str and Path in _kinds(hint))]
    return " or ".join(_kind(kind) for kind in kinds)


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (list, tuple):
        return f"list, each {_type(get_args(kind)[0])}"
    names = {int: "whole number", float: "number", bool: "yes or no", str: "text", Path: "path"}
    return names.get(kind, "table of values by name")
