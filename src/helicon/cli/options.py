"""Options of a verb as the command line shows them: flat, under the headings of their groups."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

from cyclopts import Group, Parameter


def command(verb: Callable[..., Any]) -> Callable[..., Any]:
    """A verb of groups as a command, whose help shows each option under its group's heading.

    Args:
        verb: made by `helicon.training.run.options.verb`.
    """
    options: dict[str, Any] = verb.options  # type: ignore[attr-defined]
    titles = list(dict.fromkeys(one.group.title for one in options.values()))
    headings = {title: Group(title, sort_key=at + 1) for at, title in enumerate(titles)}

    @wraps(verb)
    def called(*words: Any, **named: Any) -> Any:
        return verb(*words, **named)

    signature = inspect.signature(verb)
    parameters = []
    for name, parameter in signature.parameters.items():
        hint = parameter.annotation
        if name in options:
            heading = headings[options[name].group.title]
            hint = Annotated[hint, Parameter(group=heading)]
        parameters.append(parameter.replace(annotation=hint))
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called
