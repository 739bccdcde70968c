"""What a person sees of a long run: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

#: Seconds between plain lines.
_QUIET = 10.0


class Progress:
    """Progress of one run on standard error.

    Args:
        label: what runs, for the start of each line.
        total: steps of the run; `None` where that is not known.
        done: steps done before this start.
        shown: whether to print at all (the first process does).
        unit: what a training reads, for its speed.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        done: int = 0,
        *,
        shown: bool = True,
        unit: str = "bases",
    ):
        self.label = label
        self.total = total
        self.first = self.done = done
        self.shown = shown
        self.unit = unit
        self._console = Console(stderr=True)
        self._began = self._spoke = time.monotonic()
        self._numbers = ""
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if self.shown and self._console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self._console,
            )
            self._bar.start()
            self._row = self._bar.add_task(
                self.label, total=self.total, completed=self.done, numbers=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int) -> None:
        """Note that a step is done; in a log, speak if it has been quiet for long."""
        self.done = step
        if self._bar is not None:
            self._bar.update(self._row, completed=step, numbers=self._numbers)
        elif self.shown and self._numbers and time.monotonic() - self._spoke > _QUIET:
            self._say(f"{self._numbers}  {self._time_left()}".rstrip())

    def numbers(self, loss: float, letters_per_second: float) -> None:
        """Note the loss and the speed, shown from the next step on."""
        self._numbers = f"loss {loss:.4f}  {_amount(letters_per_second)} {self.unit}/s"

    def rate(self, units_per_second: float, unit: str) -> None:
        """Note the speed of a job whose steps are letters or records, shown from the next on."""
        self._numbers = f"{_amount(units_per_second)} {unit}/s"

    def validation(self, metrics: Mapping[str, float]) -> None:
        """Show what was measured on validation data."""
        if not self.shown:
            return
        text = "validation " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.console.print(f"step {self.done:,}: {text}", highlight=False)
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        self._spoke = time.monotonic()
        of = "" if self.total is None else f"/{self.total:,}"
        print(f"{self.label} {self.done:,}{of}  {text}", file=sys.stderr, flush=True)

    def _time_left(self) -> str:
        if self.total is None:
            return ""
        made = self.done - self.first
        left = (time.monotonic() - self._began) / max(made, 1) * (self.total - self.done)
        return f"{_clock(left)} left"


def _amount(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
