"""A run is a folder: what was asked, what was measured, the checkpoints and the model.

recipe.toml     the resolved recipe, hashes of the data, versions
budget.json     the number of steps that a budget in minutes became (only such runs)
metrics.jsonl   one row of numbers a line, of training and of validation
checkpoints/    step-00000100/ and so on
model/          the trained model, in the Hugging Face format
student/        the student of a self-distilled model, which is its teacher
results.json    what the finished run measured, with its provenance
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tomli_w

from helicon.errors import InputError, WorkError
from helicon.files import check_output, clear_leftovers, write_aside
from helicon.machine import locks
from helicon.machine.stopping import told_to_stop

#: Files that may stand in a folder without making it "something else's".
_IGNORED = {".lock", ".DS_Store"}


class RunFolder:
    """The folder of one run, held by one process (others that train with it only read).

    Attributes:
        path: the folder.
        recipe: what `recipe.toml` says: tables `recipe`, `data` and `versions`.
        checkpoints: folder of the checkpoints.
        model: folder of the trained model.
        student: folder of the student, of a model that is its teacher.
        results: file of the results.
        resumed: whether the folder held this run before.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], *, resumed: bool, writes: bool):
        self.path = path
        self.recipe = dict(recipe)
        self.resumed = resumed
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.student = path / "student"
        self.results = path / "results.json"
        self._metrics = path / "metrics.jsonl"
        self._writes = writes
        self._held = contextlib.ExitStack()

    @classmethod
    def open(
        cls, path: str | Path, recipe: Mapping[str, Any], *, resume: bool = False, rank: int = 0
    ) -> Self:
        """Make the folder of a new run, or with `resume` take up the run that it holds.

        With `resume`, a folder that is missing or empty starts a new run, so that one command
        serves for every start. A run that was stopped before its first row is begun anew.

        Args:
            path: the folder.
            recipe: `verb` (a string) and the tables `recipe` (every option), `data` (name to hash)
                and `versions`, perhaps `taken` (what the machine decided); values that are `None`
                are left out. With `resume`, `verb`, `recipe`
                and `data` must equal what the folder holds; options that are a `Path` may differ,
                as files may move: their hashes in `data` say whether they are the same.
            resume: continue the run in the folder.
            rank: of this process; processes but the first neither lock nor write.

        Raises:
            InputError: the folder holds something else, another run, a run of another recipe, or
                is in use by another process.
        """
        path, paths = Path(path), _path_keys(recipe.get("recipe", {}))
        recipe = _without_none(recipe)
        if rank:
            return cls(path, recipe, resumed=resume, writes=False)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file, a folder is wanted; choose another --out")
        there = _contents(path)
        if there and "recipe.toml" not in there:
            raise InputError(
                f"{path}: holds other files ({', '.join(there[:3])}{', ...' * (len(there) > 3)}); "
                "choose another --out"
            )
        # A recipe alone is a run that stopped before it had anything to lose.
        run = cls(path, recipe, resumed=len(there) > 1, writes=True)
        run._take()
        try:
            run._begin(resume, paths)
        except BaseException:
            run.close()
            raise
        return run

    def _begin(self, resume: bool, paths: set[str]) -> None:
        held = self.path / "recipe.toml"
        if not self.resumed:
            with write_aside(held) as aside:
                aside.write_text(tomli_w.dumps(self.recipe))
        elif not resume:
            raise InputError(_holds_a_run(self.path))
        else:
            _same_recipe(read_recipe(held), self.recipe, paths, held)

    def _take(self) -> None:
        """Lock the folder; the system lets go when the process ends, however it ends."""
        check_output(self.path / "recipe.toml")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = self._held.enter_context(locks.alone(self.path / ".lock"))
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); choose another --out"
            ) from error
        except locks.HeldError as error:
            raise InputError(
                f"{self.path}: another process is running here; wait for it or choose another --out"
            ) from error
        said = f"{self.path}: stopped by SIGTERM; continue the run with --resume"
        self._held.enter_context(told_to_stop(said))
        if held:
            clear_leftovers(self.path)

    def close(self) -> None:
        """Let go of the folder."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row of metrics, at once."""
        if not self._writes:
            return
        try:
            with self._metrics.open("a") as handle:
                handle.write(_line(row))
        except OSError as error:
            raise WorkError(
                f"{self._metrics}: cannot be written ({error.strerror}); the checkpoints are "
                "whole. Free some space and start again with --resume"
            ) from error

    def sync(self) -> None:
        """Force the rows to the disk: before a checkpoint, which must never be ahead of them."""
        if self._writes and self._metrics.exists():
            with self._metrics.open("rb") as handle:
                os.fsync(handle.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """All rows of metrics."""
        return read_metrics(self._metrics)

    def keep_rows(self, step: int) -> None:
        """Drop the rows of later steps: those that a killed run wrote after its last checkpoint."""
        if not self._writes or not self._metrics.exists():
            return
        rows = [row for row in self.rows() if row["step"] <= step]
        with write_aside(self._metrics) as aside:
            aside.write_text("".join(map(_line, rows)))

    @property
    def budget(self) -> dict[str, Any] | None:
        """What was recorded of a budget in minutes, or `None`."""
        path = self.path / "budget.json"
        return json.loads(path.read_text()) if path.exists() else None

    def record_budget(self, budget: Mapping[str, Any]) -> None:
        """Write what a budget in minutes became, before it is used."""
        self._write_json(self.path / "budget.json", budget)

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write `results.json`: the mark of a finished run."""
        self._write_json(self.results, results)

    def _write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        if self._writes:
            with write_aside(path) as aside:
                aside.write_text(json.dumps(_finite(content), indent=2) + "\n")


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Read a `recipe.toml`.

    Raises:
        InputError: it is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML ({error}); choose another --out") from error


def precision_begun(path: str | Path) -> str | None:
    """The precision in which the run of a folder trains; `None` where there is no run yet.

    Raises:
        InputError: its recipe is no TOML.
    """
    held = Path(path) / "recipe.toml"
    taken = read_recipe(held).get("taken", {}) if held.is_file() else {}
    return taken.get("precision")


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    path = Path(path)
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(_finite(row)) + "\n"


def _finite(value: Any) -> Any:
    """Copy for JSON, which has no NaN and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _contents(path: Path) -> list[str]:
    """What stands in a folder, but for our own lock and leftovers of a start that was killed."""
    if not path.exists():
        return []
    names = sorted(p.name for p in path.iterdir())
    return [n for n in names if n not in _IGNORED and not n.startswith(".recipe.toml.")]


def _holds_a_run(path: Path) -> str:
    verb = read_recipe(path / "recipe.toml").get("verb", "")
    if (path / "results.json").exists():
        return f"{path}: holds a finished {verb} run; choose another --out"
    rows = read_metrics(path / "metrics.jsonl")
    step = f" stopped after step {rows[-1]['step']:,}" if rows else ""
    return f"{path}: holds a {verb} run{step}; continue it with --resume or choose another --out"


def _path_keys(options: Mapping[str, Any]) -> set[str]:
    return {f"recipe.{key}" for key, value in options.items() if isinstance(value, Path)}


def _same_recipe(held: dict[str, Any], asked: dict[str, Any], paths: set[str], path: Path) -> None:
    """Raise InputError naming the first key in which a resumed run differs from the held one."""
    for table in ("verb", "recipe", "data"):
        before, now = _flat(held.get(table, {}), table), _flat(asked.get(table, {}), table)
        for key in sorted((before.keys() | now.keys()) - paths):
            old, new = before.get(key, "not set"), now.get(key, "not set")
            if old != new:
                raise InputError(
                    f"{path}: {key.removeprefix('recipe.')} was {old}, now it is {new}; "
                    "resume with the same recipe or choose another --out"
                )


def _flat(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for name, part in value.items() for k, v in _flat(part, f"{key}.{name}").items()}


def _without_none(value: Any) -> Any:
    """Copy for TOML, which has no null, no tuple and no path."""
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return str(value) if isinstance(value, Path) else value
