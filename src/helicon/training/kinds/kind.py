"""The contract of a kind of labelled data.

A kind is a description: where the data is, and how it is read. It says which data it recognises,
reads it for fine-tuning (`read` gives a `Labelled`), and measures a finished model on it. Its
options are its fields. `helicon.training.kinds.known` lists the kinds; a new one is one file that
is registered there.
"""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import polars as pl

from helicon.alphabet import Alphabet
from helicon.archives import through
from helicon.errors import InputError
from helicon.files import sha256
from helicon.metrics.measured import Measures
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconPreTrainedModel
from helicon.training.adaptation.adapt import HeadSettings, Supervised
from helicon.training.adaptation.linear import Examples
from helicon.training.adaptation.options import Adapt, Fit
from helicon.training.loop.fit import Task
from helicon.training.run.options import Asked, Options, names_of
from helicon.training.yardsticks.markov import MarkovScore

#: Options that name files to write.
_WRITTEN = ("predictions",)
#: What was measured on one part, with a table of predictions (`None` where there is none).
Measured = tuple[str, Measures, pl.DataFrame | None]
#: What a head gives an output for: a sequence, each of its letters, or each pair of them.
Head = Literal["sequence", "token", "pair"]


@dataclass(frozen=True)
class Answer:
    """What `evaluate` found.

    Attributes:
        examples: how much was looked at.
        unit: of what.
        scores: every measure.
        frame: predictions, if they make a table.
        baselines: what to compare with.
        part: which part of the file was measured; `None` for all of it.
    """

    examples: int
    unit: str
    scores: Measures
    frame: pl.DataFrame | None = None
    baselines: tuple[MarkovScore, ...] = ()
    part: str | None = None


@dataclass(frozen=True, kw_only=True)
class Measurable(Options):
    """Data on which a saved model of some sort is measured.

    Attributes:
        what: the data, in words that follow "an option for".
    """

    title: ClassVar[str] = "Data"
    what: ClassVar[str]

    data: Path = field(kw_only=False, metadata={"verbs": ()})

    @classmethod
    @abstractmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a saved model gives what is measured here, when such options are given."""

    @abstractmethod
    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """Measure a saved model, in float32.

        Args:
            network: the model.
            asked: which options were given.
            name: of the model, for messages.

        Raises:
            InputError: a file or an option is wrong, or does not fit the model.
        """

    @classmethod
    def of(cls, data: Path, options: Mapping[str, Any], asked: Asked, verb: str, why: str) -> Self:
        """Make a description of a file, of the options that were given.

        Raises:
            InputError: an option that was given is none of this data's; `why` says what was found.
        """
        mine = names_of(cls, verb)
        asked.refuse(options.keys() - set(mine), f"is no option for {cls.what}, {why}")
        return cls(data, **{name: options[name] for name in mine if name in options})

    @property
    def files(self) -> dict[str, Path]:
        """The files that are named, by option."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _WRITTEN}
        return {name: value for name, value in named.items() if isinstance(value, Path)}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that is read, by the option that names it."""
        return {
            name: sha256(through(p, f"file to read ({name})")) for name, p in self.files.items()
        }


class Labelled(Protocol):
    """Labelled data that was read and divided, ready to learn from.

    Attributes:
        target: what is predicted.
    """

    @property
    def target(self) -> Target:
        """What is predicted."""

    def task(self, fit: Fit) -> SupervisedTask:
        """What the loop trains, of one seed."""

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""

    def batch_size(self, fit: Fit) -> int | str:
        """What a batch holds."""

    def measure(self, model: Supervised, task: Any) -> Iterator[Measured]:
        """Measure a model, which is in the unit of training, on validation and test data."""

    def examples(self, model: Supervised, fit: Fit) -> tuple[Examples, Examples]:
        """Features and labels of training and validation, for a linear probe."""

    def notes(self, adapt: Adapt, probe: bool) -> list[str]:
        """What was found and decided, a line each."""

    def baseline(self) -> Mapping[str, Mapping[str, object]]:
        """What a simple method reaches, for the results."""


class SupervisedTask(Task, Protocol):
    """A task with class weights, and a number of steps in an epoch."""

    weights: Any

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimiser steps in which the training data is seen about once."""


@dataclass(frozen=True, kw_only=True)
class Kind(Measurable):
    """A kind of labelled data, from which models learn.

    Attributes:
        head: what the model gives an output for.
        without: options of adapting and training that mean nothing here.
        example: a file of this kind, as the command line would name it in the next command.
    """

    head: ClassVar[Head]
    without: ClassVar[frozenset[str]] = frozenset()
    has_probe: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def recognises(cls, data: Path, options: Mapping[str, Any], alphabet: Alphabet) -> bool:
        """Whether a file, with the options that were given, is of this kind."""

    @abstractmethod
    def read(
        self, source: HeliconPreTrainedModel, adapt: Adapt, fit: Fit, asked: Asked
    ) -> Labelled:
        """Read and divide the files, checked so that nothing fails when training has begun.

        Args:
            source: the model that is adapted.
            adapt: what of it is.
            fit: how it learns.
            asked: which options were given.

        Raises:
            InputError: a file is wrong, or an option has no meaning here.
        """

    def head_settings(self, adapt: Adapt) -> HeadSettings:
        """The new part of the network."""
        return HeadSettings("mean", adapt.head, adapt.dropout, adapt.backbone_dropout)

    def is_probe(self, adapt: Adapt) -> bool:
        """Whether the head is fitted by a regression on features that are computed once."""
        return self.has_probe and adapt.freeze and adapt.head == "linear"

    @classmethod
    def next_command(cls, run: Path) -> str:
        """What to do with a finished run."""
        return f"evaluate {shlex.quote(str(run))} DATA --target COLUMN"


def check_strands(alphabet: Alphabet, **given: bool | None) -> None:
    """Refuse options on the opposite strand where there is none.

    Raises:
        InputError: one is given for proteins.
    """
    for name, value in given.items():
        if value and not alphabet.complements:
            raise InputError(
                f"{name}: this model reads proteins, which have one strand; leave it out"
            )


def check_held_out(valid: Path | None, asked: Asked) -> None:
    """Refuse a share to hold out beside a validation file."""
    if valid is not None:
        asked.refuse(["validation_fraction"], f"{valid} is the validation data")


def saved_target(network: HeliconPreTrainedModel, name: str) -> Target:
    """What a saved model predicts, in the unit of the data.

    Raises:
        InputError: its folder does not say the problem.
    """
    problem = network.config.problem
    if problem is None:
        raise InputError(
            f"{name}: config.json does not say the problem_type; fine-tune with Helicon"
        )
    return Target.plain(problem, tuple(str(label) for label in network.config.labels))


def parts_of(valid: Any, test: Any) -> Sequence[tuple[str, Any]]:
    """What a finished model is measured on, by name."""
    return [("validation", valid), *([("test", test)] if test is not None else [])]
