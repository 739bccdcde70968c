"""The report of any run folder, from the files that stand in it and nothing else."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helicon.errors import InputError
from helicon.report.figures.curves import learning_curves, loss_curves
from helicon.report.figures.figure import Figure
from helicon.report.pages.measures import (
    TELLING,
    Row,
    baseline_losses,
    is_number,
    measured,
    scored_parts,
    spread_note,
    told,
)
from helicon.report.pages.page import (
    Block,
    Card,
    Cards,
    Columns,
    Commands,
    Facts,
    Items,
    Prose,
    Report,
    Section,
    Source,
)
from helicon.report.pages.teacher import watched
from helicon.report.results.distillation import LETTERS, Watch
from helicon.report.results.records import logged
from helicon.report.wording import duration, facts, label, measure, value
from helicon.training.run.folder import read_metrics, read_recipe

_VERBS = {"pretrain": "Pretraining", "finetune": "Fine-tuning"}
#: Results that the page says elsewhere.
_SAID = (
    "verb",
    "run",
    "out",
    "model",
    "seconds",
    "names",
    "runs",
    "spread",
    "notes",
    "provenance",
    "baselines",
    "kmer_baseline",
    "one_hot_baseline",
    "validation",
    "test",
    "student",
    "unit",
)
#: Folders in front of a file that is named from the root of a machine, or from a home.
_PLACE = re.compile(r"(?<![\w.~/\\:-])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\"'\n:,;]+[/\\]+)+(?=[^/\\\s])")
#: Curves of measures on validation data that a page shows at most.
_CURVES = 4


def run_report(folder: str | Path) -> Path:
    """Write `report.html` into a run folder.

    What the run has not (yet) written is left out: a run that was stopped shows its curves. A
    folder of several seeds shows all of them.

    Args:
        folder: of a pretraining or fine-tuning run.

    Returns:
        Path of the page.

    Raises:
        InputError: the folder holds no run, or one of its files is damaged.
    """
    folder = Path(folder)
    recipe_file = folder / "recipe.toml"
    if not recipe_file.is_file():
        raise InputError(
            f"{folder}: is no run folder (it has no recipe.toml); give the folder that "
            "helicon pretrain or helicon finetune wrote"
        )
    recipe = read_recipe(recipe_file)
    seeds = [path for path in sorted(folder.glob("seed-*"), key=_seed) if path.is_dir()]
    logs = [read_metrics(path / "metrics.jsonl") for path in seeds or [folder]]
    results = _read_results(folder / "results.json")
    verb = str(recipe.get("verb", ""))
    of_seeds = [found for path in seeds if (found := _read_results(path / "results.json"))]
    unit = str(recipe.get("unit", "bases"))
    watch = Watch.of(logs[0], recipe.get("recipe", {}))
    sections = [
        Section("Result", measured(results, of_seeds)),
        Section("Training", _training(logs, baseline_losses(results), unit, watch)),
        Section("Teacher and student", watched(watch)),
        Section("What was found and decided", _notes(results)),
        Section("Next", _next(folder, recipe, finished=bool(results))),
        Section("Provenance", _provenance(recipe, results, of_seeds, recipe_file)),
    ]
    return Report(
        title=f"{_VERBS.get(verb, 'Run')}: {folder.resolve().name}",
        subtitle=_subtitle(recipe, logs, finished=bool(results)),
        sections=[section for section in sections if section.blocks],
        lead=_cards(results, logs, unit),
        kind="Helicon · run",
    ).write(folder / "report.html")


def _seed(path: Path) -> tuple[int, str]:
    number = path.name.removeprefix("seed-")
    return (int(number) if number.isdecimal() else 0, number)


def _read_results(path: Path) -> dict[str, Any]:
    """Results of a finished run; empty where there are none yet."""
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is no JSON ({error}); run again to write it anew") from error
    if not isinstance(results, dict):
        raise InputError(f"{path}: holds no results; run again to write it anew")
    return results


def _subtitle(recipe: Row, logs: Sequence[Sequence[Row]], *, finished: bool) -> str:
    options = recipe.get("recipe", {})
    said = [
        f"`{without_folders(str(options[key]))}`"
        for key in ("model", "objective", "target")
        if options.get(key)
    ]
    steps = max((int(row["step"]) for rows in logs for row in rows), default=0)
    seeds = f"{len(logs)} seeds of " if len(logs) > 1 else ""
    if steps:
        said.append(f"{seeds}{steps:,} steps")
    said.append("finished" if finished else "not finished")
    return ", ".join(said) + "."


def _cards(results: Row, logs: Sequence[Sequence[Row]], unit: str) -> list[Block]:
    cards = []
    speed = f"{unit}_per_second"
    if parts := scored_parts(results):
        name = "test" if "test" in parts else list(parts)[-1]
        part = parts[name]
        for m in told(results, part)[:3]:
            note = spread_note(results, name, m)
            cards.append(Card(f"{label(name)} {label(m)}", measure(part[m], 3), note))
    known = {**results, **results.get("provenance", {})}
    if is_number(known.get("seconds")):
        cards.append(Card("time", duration(known["seconds"])))
    if is_number(known.get("peak_memory_mb")):
        cards.append(Card("peak memory", value("peak_memory_mb", known["peak_memory_mb"])))
    speeds = sorted(row[speed] for rows in logs for row in rows if is_number(row.get(speed)))
    if speeds:
        cards.append(Card(label(speed), f"{speeds[len(speeds) // 2]:,.0f}", "median"))
    return [Cards(cards)] if cards else []


def _training(
    logs: Sequence[Sequence[Row]],
    references: Mapping[str, float],
    unit: str,
    watch: Watch | None,
) -> list[Block]:
    """Curves of a run, or of all seeds of one together; a linear probe has none.

    Of self-distillation, the loss on hidden letters stands beside validation, which is that of the
    teacher; the whole loss, which has another unit, has a curve of its own.
    """
    if not any(row["step"] for rows in logs for row in rows):
        return []
    train = [[row for row in rows if row.get("kind") == "train"] for rows in logs]
    valid = [[row for row in rows if row.get("kind") == "validation"] for rows in logs]
    measures = [name for name in TELLING if name != "loss" and _recorded(valid, name)][:_CURVES]
    wanted = [(valid, name, f"Validation {label(name)}") for name in measures]
    speed = f"{unit}_per_second"
    wanted += [(train, "lr", "Learning rate"), (train, speed, label(speed).capitalize())]
    blocks: list[Block] = []
    if len(logs) > 1:
        wanted = [(train, "loss", "Training loss"), (valid, "loss", "Validation loss"), *wanted]
    else:
        blocks.append(
            loss_curves(
                {"": watch.masked_loss if watch else logged(train[0], "loss")},
                {"": logged(valid[0], "loss")},
                references,
                title="Loss on hidden letters" if watch else "Loss",
                y_label="",
                caption=LETTERS if watch else "",
            )
        )
    if watch:
        wanted = [(train, "loss", "Training loss, both parts weighted"), *wanted]
    return [*blocks, Columns([_curve(*curve) for curve in wanted if _recorded(*curve[:2])])]


def _curve(logs: Sequence[Sequence[Row]], name: str, title: str) -> Figure:
    runs = [logged(rows, name) for rows in logs]
    caption = "Thin: every seed; bold: their mean." if len(runs) > 1 else ""
    return learning_curves({"": runs}, title=title, y_label="", caption=caption)


def _recorded(logs: Sequence[Sequence[Row]], name: str) -> bool:
    return any(is_number(row.get(name)) for rows in logs for row in rows)


def _notes(results: Row) -> list[Block]:
    notes = results.get("notes")
    return [Items([without_folders(str(note)) for note in notes])] if notes else []


def _next(folder: Path, recipe: Row, *, finished: bool) -> list[Block]:
    if not finished:
        text = "The run is not finished. Start it again with the same command and `--resume`."
        return [Prose(text)]
    name = shlex.quote(folder.resolve().name)
    commands = {
        "pretrain": f"helicon finetune {name} TRAIN.csv --target COLUMN --out RUN",
        "finetune": f"helicon evaluate {name} DATA.csv --target COLUMN",
    }
    verb = str(recipe.get("verb", ""))
    if recipe.get("recipe", {}).get("task") == "contacts":
        commands = {verb: f"helicon predict {name} PROTEINS.fasta --out contacts.parquet"}
    return [Commands([commands[verb]])] if verb in commands else []


def _provenance(recipe: Row, results: Row, seeds: Sequence[Row], recipe_file: Path) -> list[Block]:
    """What the results say of themselves; a folder of seeds has its first seed's machine."""
    said: dict[str, Any] = {key: content for key, content in results.items() if key not in _SAID}
    said |= {key: recipe[key] for key in ("data", "versions") if recipe.get(key)}
    said |= results.get("provenance") or next(
        ({"machine": seed["provenance"].get("machine")} for seed in seeds if "provenance" in seed),
        {},
    )
    pairs = [(without_folders(name), without_folders(what)) for name, what in facts(said)]
    blocks: list[Block] = [Facts(pairs)] if pairs else []
    text = without_folders(recipe_file.read_text(encoding="utf-8"))
    return [*blocks, Source("recipe.toml", text)]


def without_folders(text: str) -> str:
    """Text in which of the files of a machine stand the names alone; relative paths stay."""
    return _PLACE.sub("", text)
