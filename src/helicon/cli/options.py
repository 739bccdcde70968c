"""Options of a verb as the command line shows them: flat, under the headings of their groups."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Annotated, Any, get_args, get_type_hints

from cyclopts import Group, Parameter, Token

from helicon.training.run.recipe import Option as Setting


def command(verb: Callable[..., Any]) -> Callable[..., Any]:
    """A verb as a command, whose help shows each option under its group's heading.

    Args:
        verb: made by `helicon.training.run.options.verb`, or a plain function.
    """
    options: dict[str, Any] = getattr(verb, "options", {})
    titles = list(dict.fromkeys(one.group.title for one in options.values()))
    headings = {title: Group(title, sort_key=at + 1) for at, title in enumerate(titles)}
    hints = get_type_hints(verb)

    @wraps(verb)
    def called(*words: Any, **named: Any) -> Any:
        return verb(*words, **named)

    signature = inspect.signature(verb)
    parameters = []
    for name, parameter in signature.parameters.items():
        said: dict[str, Any] = {}
        if name in options:
            said["group"] = headings[options[name].group.title]
        if hints[name] is int or int in get_args(hints[name]):
            said["converter"] = whole_number
        if dict[str, Setting] in get_args(hints[name]):
            hints[name] = dict[str, Annotated[Setting, Parameter(converter=setting)]] | None
        hint = Annotated[hints[name], Parameter(**said)] if said else hints[name]
        parameters.append(parameter.replace(annotation=hint))
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


def setting(kind: Any, tokens: Sequence[Token]) -> Setting:
    """A setting of a network as it is written: a number, `true` or `false`, else a word."""
    text = tokens[0].value
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def whole_number(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number as it is written; 1.5 is refused, not rounded.

    Raises:
        ValueError: it is none.
    """
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?[0-9]+(_[0-9]+)*", text):
        raise ValueError(f'unable to convert "{text}" into a whole number (int)')
    return int(text)
