"""Recipes: the options of a verb as a frozen dataclass, read from and written as TOML.

A recipe file has one table, named as the verb, with the verb's options as keys:

    description = "what this run is for"

    [pretrain]
    data = "genome.fa.gz"
    steps = 2000

The `recipe.toml` of a run folder is read likewise, to do the same run again.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tomli_w

from helicon.errors import InputError
from helicon.files import existing_file
from helicon.objectives.masked_lm import Masking, Replacement
from helicon.training.devices import Precision
from helicon.training.schedule import Schedule
from helicon.training.settings import LoopSettings

#: What may stand beside the verb's table in a recipe file.
_BESIDE = {"description"}


class Recipe(Protocol):
    """A frozen dataclass of a verb's options."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    verb: ClassVar[str]


Kind = TypeVar("Kind", bound=Recipe)


def read_recipe(path: str | Path, kind: type[Kind]) -> Kind:
    """Read a recipe file, or a run folder's `recipe.toml`.

    Args:
        path: the file.
        kind: the dataclass of the verb.

    Raises:
        InputError: the file is missing or no TOML, has no table of the verb, an unknown key, a key
            that must be there but is not, or a value of the wrong type; names the file and key.
    """
    path = existing_file(path, "recipe")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML ({error}); correct it") from error
    if content.get("verb") == kind.verb and isinstance(content.get("recipe"), dict):
        return from_values(kind, content["recipe"], str(path))
    if not isinstance(content.get(kind.verb), dict):
        raise InputError(f"{path}: has no table [{kind.verb}]; the options belong under it")
    if unknown := sorted(content.keys() - _BESIDE - {kind.verb}):
        raise InputError(f"{path}: unknown key {unknown[0]!r}; move it under [{kind.verb}]")
    return from_values(kind, content[kind.verb], str(path))


def from_values(kind: type[Kind], values: Mapping[str, Any], where: str) -> Kind:
    """Make a recipe of parsed values; dashes in keys read as underscores.

    Args:
        kind: the dataclass of the verb.
        values: options by name.
        where: the file, for messages.

    Raises:
        InputError: see `read_recipe`.
    """
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    found = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")
        found[name] = _checked(hints[name], value, f"{where}: {key}")
    for name, field in fields.items():
        if name not in found and field.default is dataclasses.MISSING:
            raise InputError(f"{where}: {name} is missing; give it")
    try:
        return kind(**found)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def values_of(recipe: Recipe) -> dict[str, Any]:
    """The options of a recipe by name, without those that are `None`."""
    pairs = ((f.name, getattr(recipe, f.name)) for f in dataclasses.fields(recipe))
    return {name: value for name, value in pairs if value is not None}


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as the text of a recipe file."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in values_of(recipe).items()}
    return tomli_w.dumps({recipe.verb: plain})


def _checked(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`: text and paths serve as each other, an integer as a float."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        accepted, read = _as_kind(kind, value, where)
        if accepted:
            return read
    wanted = " or ".join(_name(kind) for kind in kinds if kind is not types.NoneType)
    raise InputError(f"{where}: must be {wanted}, not {value!r}")


def _as_kind(kind: Any, value: Any, where: str) -> tuple[bool, Any]:
    """Whether a value is of one kind, and the value as that kind."""
    if get_origin(kind) is Literal:
        return value in get_args(kind), value
    if get_origin(kind) is list and isinstance(value, list):
        (part,) = get_args(kind)
        return True, [_checked(part, item, where) for item in value]
    if get_origin(kind) is dict and isinstance(value, dict):
        part = get_args(kind)[1]
        return True, {key: _checked(part, item, f"{where}.{key}") for key, item in value.items()}
    if kind in (Path, str) and isinstance(value, str | Path):
        return True, kind(value)
    if kind is float and type(value) is int:
        return True, float(value)
    return type(value) is kind, value


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    names |= {Path: "a path"}
    if get_origin(kind) is list:
        return f"a list, each {_name(get_args(kind)[0])}"
    return names.get(kind, "a table")


Option = bool | int | float | str


@dataclass(frozen=True)
class PretrainRecipe:
    """Every option of `helicon pretrain` but the run folder; `pretrain` documents them."""

    verb: ClassVar[str] = "pretrain"

    data: Path
    model: str = "convnova-small"
    backbone: dict[str, Option] | None = None
    objective: Literal["masked-lm"] = "masked-lm"
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    length: int = 1024
    batch_size: int = 32
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    floor: float = 0.01
    clip: float = 1.0
    mask_rate: float = 0.10
    replacement: Replacement = "mask"
    soft_weight: float = 1.0
    intervals: Path | None = None
    offsets: Literal["random", "head"] = "random"
    reverse_complement: bool = True
    max_unknown: float = 0.5
    validation: list[str] | None = None
    test: list[str] | None = None
    split_block: int = 50_000
    validation_windows: int = 256
    test_windows: int = 2048
    eval_every: int | None = None
    checkpoint_every: int | None = None
    patience: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        lengths = {"steps": self.steps, "epochs": self.epochs, "minutes": self.minutes}
        if len(given := [name for name, value in lengths.items() if value is not None]) > 1:
            raise InputError(f"give one of steps, epochs and minutes, not {' and '.join(given)}")
        if self.epochs is not None and not self.epochs > 0:
            raise InputError(f"epochs: must be more than 0, not {self.epochs}")
        for name in ("length", "batch_size", "split_block", "validation_windows", "test_windows"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"seed: must not be negative, not {self.seed}")
        if not 0 <= self.max_unknown <= 1:
            raise InputError(f"max_unknown: must be in [0, 1], not {self.max_unknown}")
        if self.intervals is not None and (self.validation or self.test):
            raise InputError("give intervals, whose file names the split, or validation and test")
        if self.test and not self.validation:
            raise InputError("test: chromosomes to test on need others to validate on; give both")
        self.masking, self.loop(1)  # their own checks

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the recipe out of a function's arguments, and check their types."""
        names = [f.name for f in dataclasses.fields(cls)]
        return from_values(cls, {name: arguments[name] for name in names}, cls.verb)

    @property
    def masking(self) -> Masking:
        """How sequences are corrupted."""
        return Masking(self.mask_rate, self.replacement, self.soft_weight)

    def loop(self, steps: int | None) -> LoopSettings:
        """How the loop trains; `steps` is `None` for a budget in minutes."""
        return LoopSettings(
            steps=steps if self.minutes is None else None,
            minutes=self.minutes,
            lr=self.lr,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup=self.warmup,
            floor=self.floor,
            clip=self.clip or None,
            accumulate=self.accumulate,
            precision=self.precision,
            seed=self.seed,
            eval_every=self.eval_every,
            checkpoint_every=self.checkpoint_every,
            patience=self.patience,
            accelerator=self.accelerator,
            devices=self.devices,
            nodes=self.nodes,
            strategy=self.strategy,
        )
