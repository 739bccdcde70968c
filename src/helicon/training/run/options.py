"""Options of a verb: each written once, as a field of the dataclass of its group.

A verb is a function of groups. `verb` makes of it the function that people call: it also takes
every option by its own name, as the command line and recipes do, and its signature and docstring
list them all. What was given by name is known, so that an option without a meaning is refused.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from types import NoneType
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

from helicon.errors import InputError
from helicon.training.run.recipe import checked

Result = TypeVar("Result")
Group = TypeVar("Group", bound="Options")


@dataclass(frozen=True, kw_only=True)
class Options:
    """A group of options, documented under `Attributes`.

    Attributes:
        title: what a list of options calls the group.
    """

    title: ClassVar[str] = ""


def only(verbs: str, default: Any) -> Any:
    """A field that is an option of some verbs only (names with spaces between)."""
    return field(default=default, metadata={"verbs": tuple(verbs.split())})


@dataclass(frozen=True)
class Asked:
    """What a verb was asked for by name.

    Attributes:
        of_data: options of the data, those that were given.
        given: names of all options that were given.
    """

    of_data: Mapping[str, Any]
    given: frozenset[str]

    def refuse(self, names: Iterable[str], reason: str) -> None:
        """Raise InputError for the first of some options that was given and means nothing."""
        if wrong := sorted(self.given & set(names)):
            raise InputError(f"{wrong[0]}: {reason}; leave it out")


def names_of(group: type[Options] | Options, verb: str) -> list[str]:
    """Names of the options of a group that a verb has."""
    return [f.name for f in fields(group) if verb in f.metadata.get("verbs", (verb,))]


@dataclass(frozen=True)
class Option:
    """An option as a verb lists it.

    Attributes:
        group: of which it is.
        field: of the group.
        hint: its type.
        meaning: its line of the docstring.
    """

    group: type[Options]
    field: Field[Any]
    hint: Any
    meaning: str


def verb(
    of_data: Callable[[], Sequence[type[Options]]] = tuple,
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Make a function of groups a verb, which takes each option by its name too.

    Args:
        of_data: gives the groups of which the data will have one.
    """

    def made(core: Callable[..., Result]) -> Callable[..., Result]:
        own = inspect.signature(core).parameters
        hints = get_type_hints(core)
        groups = {n: h for n, h in hints.items() if n in own and _is_group(h)}
        plain = {n: h for n, h in hints.items() if n in own and not _has_group(h)}

        @functools.wraps(core)
        def called(*given: Any, **named: Any) -> Result:
            options = _listed(core.__name__, (*of_data(), *groups.values()))
            named = dict(zip(own, given, strict=False)) | named
            values = {n: named.pop(n) for n in list(named) if n in options and n not in own}
            _check_known(core.__name__, named, {*own, *options})
            values = {n: _value(n, v, options[n]) for n, v in values.items()}
            values = {n: v for n, v in values.items() if not _is_absent(v, options[n])}
            named |= {n: checked(plain[n], v, n) for n, v in named.items() if n in plain}
            for name, group in groups.items():
                mine = {f.name: values[f.name] for f in fields(group) if f.name in values}
                named[name] = replace(named.get(name) or group(), **mine)
            of_groups = {f.name for group in groups.values() for f in fields(group)}
            data = {n: v for n, v in values.items() if n not in of_groups}
            if "asked" in own:
                named["asked"] = Asked(data, frozenset(values))
            return core(**named)

        _describe(called, core, _listed(core.__name__, (*of_data(), *groups.values())), groups)
        return called

    return made


def check_numbers(
    options: object, names: Iterable[str], least: float, most: float = math.inf, *, open: str = ""
) -> None:
    """Raise InputError for the first of the named options that is given and out of range.

    Args:
        options: their dataclass.
        names: of the options.
        least: smallest value.
        most: largest value; every value must be finite.
        open: which ends do not belong to the range: `(`, `)` or both.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        inside = (value > least if "(" in open else value >= least) and (
            value < most if ")" in open else value <= most
        )
        if not inside or not math.isfinite(value):
            said = "not be negative" if value < least == 0 else _range(least, most, open)
            raise InputError(f"{name}: must {said}, not {value}")


def _range(least: float, most: float, open: str) -> str:
    if most == math.inf:
        return f"be {'more than' if '(' in open else 'at least'} {least:g}, and finite"
    if open == "()":
        return f"be between {least:g} and {most:g}"
    right = ")" if ")" in open else "]"
    return f"be in [{least:g}, {most:g}{right}"


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Options)


def _has_group(hint: Any) -> bool:
    return any(_is_group(kind) for kind in (hint, *get_args(hint)))


def _takes_none(hint: Any) -> bool:
    return NoneType in get_args(hint)


def _listed(verb: str, groups: Iterable[type[Options]]) -> dict[str, Option]:
    found: dict[str, Option] = {}
    for group in groups:
        hints, meanings = get_type_hints(group), _meanings(group)
        mine = names_of(group, verb)
        for one in fields(group):
            if one.name in mine:
                option = Option(group, one, hints[one.name], meanings.get(one.name, ""))
                found.setdefault(one.name, option)
    return found


def _meanings(group: type) -> dict[str, str]:
    """The lines under `Attributes` of a class and of those that it inherits from."""
    found: dict[str, str] = {}
    for one in reversed(group.__mro__):
        lines = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2].splitlines()
        name = ""
        for line in lines:
            if line and not line.startswith("    "):
                break
            if line.startswith("    ") and not line.startswith("     "):
                name, _, said = line.strip().partition(": ")
                found[name] = said
            elif line.strip():
                found[name] += " " + line.strip()
    return found


def _check_known(verb: str, named: Mapping[str, Any], known: set[str]) -> None:
    for name in named.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"{verb}() has no option {name!r}{hint}")


def _value(name: str, value: Any, option: Option) -> Any:
    return value if value is None else checked(option.hint, value, name)


def _is_absent(value: Any, option: Option) -> bool:
    """Whether nothing was given: `None` where that is the default, or no value of the option."""
    return value is None and (option.field.default is None or not _takes_none(option.hint))


def _describe(
    called: Any, core: Any, options: Mapping[str, Option], groups: Mapping[str, Any]
) -> None:
    """Give a verb the signature and the docstring of all its options."""
    hints = get_type_hints(core)
    own = {
        name: parameter.replace(annotation=_by_name(hints[name]))
        for name, parameter in inspect.signature(core).parameters.items()
        if name not in groups and name != "asked"
    }
    listed = {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if (d := one.field.default) is MISSING else d,
            annotation=one.hint,
        )
        for name, one in options.items()
        if name not in own
    }
    last = {name: own.pop(name) for name in ("resume",) if name in own}
    parameters = {**own, **listed, **last}
    answer = inspect.signature(core).replace(
        parameters=list(parameters.values()), return_annotation=hints["return"]
    )
    called.__signature__ = answer
    called.__annotations__ = {n: p.annotation for n, p in parameters.items()}
    called.__annotations__["return"] = hints["return"]
    called.options = options
    del called.__wrapped__
    called.__doc__ = _documented(core, {n: options[n].meaning for n in listed}, {*groups, "asked"})


def _by_name(hint: Any) -> Any:
    """A hint without the groups that Python may give in place of plain values."""
    plain = [kind for kind in get_args(hint) if not _is_group(kind)]
    return (
        functools.reduce(operator.or_, plain)
        if plain and len(plain) < len(get_args(hint))
        else hint
    )


def _documented(core: Any, meanings: Mapping[str, str], hidden: Iterable[str]) -> str:
    """The docstring of the function, with the options in place of their groups."""
    text = inspect.cleandoc(core.__doc__)
    head, args, behind = text.partition("Args:\n")
    mine, ends, rest = behind.partition("\n\n")
    lines = [line for line in mine.splitlines() if line.strip().split(":")[0] not in hidden]
    lines += [f"    {name}: {meaning}" for name, meaning in meanings.items()]
    return head + args + "\n".join(lines) + ends + rest
