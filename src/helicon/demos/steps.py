"""What the main jobs share: steps that are public verbs, and curves from their logs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from helicon.report.results.demo import MaskedScore, Pretraining
from helicon.report.results.distillation import Watch
from helicon.report.results.records import Curve
from helicon.training.finetune.finetune import finetune
from helicon.training.finetune.result import FinetuneResult
from helicon.training.pretrain.pretrain import pretrain
from helicon.training.pretrain.result import PretrainResult
from helicon.training.run.folder import read_metrics, read_recipe


@dataclass(frozen=True)
class Step:
    """One verb with its arguments: to be called, and to be shown as a command."""

    verb: Literal["pretrain", "finetune"]
    subject: Path
    options: dict[str, Any]

    def run(self) -> Any:
        """Call the verb, or take up what an earlier call left."""
        if self.verb == "pretrain":
            return pretrain(self.subject, **self.options, resume=True)
        return finetune(str(self.subject), **self.options, resume=True)

    def command(self, home: Path) -> str:
        """The command line that does the same, with paths as `shown` says them.

        Args:
            home: folder of the job.
        """
        positional = [_word(shown(self.subject, home))]
        words: list[str] = []
        for name, value in self.options.items():
            flag = "--" + name.replace("_", "-")
            if isinstance(value, Path):
                value = shown(value, home)
            if name == "data":
                positional.append(_word(value))
            elif isinstance(value, dict):
                words += [f"{flag}.{key} {_word(entry)}" for key, entry in value.items()]
            else:
                words.append(flag if value is True else f"{flag} {_word(value)}")
        return " ".join(["helicon", self.verb, *positional, *words])


def _word(value: object) -> str:
    """A value as a shell reads it: one word."""
    return shlex.quote(str(value))


def shown(path: Path, home: Path) -> Path:
    """A path as a report says it, which others read: nothing of the machine's folders.

    Args:
        path: as it was given; what is relative stays.
        home: folder of the job. What lies in it begins with its name; of other files stands the
            name alone.
    """
    if not path.is_absolute():
        return path
    inside = path.is_relative_to(home)
    return Path(home.name) / path.relative_to(home) if inside else Path(path.name)


def seed_of(run: FinetuneResult) -> int:
    """The seed of one run of fine-tuning."""
    return int(json.loads((run.run / "results.json").read_text())["provenance"]["seed"])


def curve(rows: list[dict[str, Any]], kind: str, name: str) -> Curve:
    """A measure over the steps of a run.

    Args:
        rows: of the run's log.
        kind: which of them, `train` or `validation`.
        name: of the measure.
    """
    return tuple((row["step"], row[name]) for row in rows if row["kind"] == kind)


def measured_pretraining(
    result: PretrainResult, name: str, orders: Collection[int], note: str = ""
) -> Pretraining:
    """Pretraining as a page shows it.

    Args:
        result: what came of it.
        name: of the model.
        orders: of the Markov models to show beside it.
        note: what else is to be said of it.
    """
    rows = read_metrics(result.run / "metrics.jsonl")
    watch = Watch.of(rows, read_recipe(result.run / "recipe.toml")["recipe"])
    return Pretraining(
        training=watch.masked_loss if watch else curve(rows, "train", "loss"),
        validation=curve(rows, "validation", "loss"),
        steps=result.steps,
        letters=result.letters,
        seconds=result.seconds,
        score=MaskedScore(name, result.test["accuracy"], result.test["perplexity"]),
        baselines=tuple(
            MaskedScore(f"Markov, order {b.order}", b.accuracy, b.perplexity)
            for b in result.baselines
            if b.order in orders
        ),
        watch=watch,
        note=note,
    )
