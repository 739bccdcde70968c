"""What a finished run measured, as tables and figures: from `results.json` and those of its seeds.

A part of the data (`validation`, `test`) is a table of measures in the results; the measure of one
class or target has that name behind a slash (`f1/coding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from helicon.report.figures.comparison import comparison
from helicon.report.figures.confusion import confusion_matrix
from helicon.report.figures.figure import Figure
from helicon.report.pages.page import Block, Columns
from helicon.report.tables import Column, Table
from helicon.report.wording import label, measure

Row = Mapping[str, Any]

#: Measures of a page's key figures and curves, the most telling first.
TELLING = (
    "mcc",
    "mean_auroc",
    "spearman",
    "long_precision_l",
    "long_precision_l5",
    "auroc",
    "accuracy",
    "perplexity",
    "macro_f1",
    "mean_average_precision",
    "pearson",
    "rmse",
    "loss",
)
#: Measures of which the lower value is the better one.
_LOWER = ("perplexity", "rmse", "loss")
#: Measures that a class, a label or a target has of its own.
_PER_NAME = ("precision", "recall", "f1", "auroc", "support", "pearson", "spearman", "rmse", "r2")


#: What the names of a problem are names of.
_NOUNS = {"single_label": "class", "multi_label": "label", "regression": "target"}


def is_number(content: Any) -> bool:
    """Whether a stored value is a number; yes and no are none."""
    return isinstance(content, int | float) and not isinstance(content, bool)


def scored_parts(results: Row) -> dict[str, Row]:
    """Tables of measures by the part of the data: those of `validation` and `test` that exist."""
    return {part: results[part] for part in ("validation", "test") if results.get(part)}


def told(results: Row, part: Row) -> list[str]:
    """Names of the measures of a part that tell most: first the one that chose the model."""
    names = dict.fromkeys([results.get("monitor", ""), *TELLING])
    return [name for name in names if is_number(part.get(name))]


def baseline_losses(results: Row) -> dict[str, float]:
    """Losses in nats of the simplest and the strongest Markov model of a pretraining run."""
    scores = results.get("baselines", [])
    return {_markov(score): score["loss"] for score in (scores[0], scores[-1])} if scores else {}


def measured(results: Row, seeds: Sequence[Row]) -> list[Block]:
    """Everything measured.

    Args:
        results: of the run.
        seeds: results of its seeds, where it has several.
    """
    parts = scored_parts(results)
    if not parts:
        return []
    tested = results.get("student", {}).get("test")
    student = {"test, student": tested} if tested else {}
    tables: list[Block] = [
        _spread_table(results) if seeds else _measures({**parts, **student}, results)
    ]
    if results.get("baselines"):
        tables.append(_markov_table(parts, results))
    tables += [table for name, part in parts.items() if (table := _by_name(name, part, results))]
    figures = [_seed_figure(results, seeds)] if len(seeds) > 1 else []
    figures += _confusions(results, seeds or [results])
    return [*tables, Columns(figures)] if figures else tables


def _measures(parts: Mapping[str, Row], results: Row) -> Table:
    names = dict.fromkeys(name for part in parts.values() for name in part)
    single = [
        name
        for name in names
        if "/" not in name and any(is_number(part.get(name)) for part in parts.values())
    ]
    rows = [(label(n), *(_written(part.get(n)) for part in parts.values())) for n in single]
    columns = [Column("measure"), *(Column(label(name), "number") for name in parts)]
    return Table("Measures", columns, rows, _yardstick_note(results))


def _spread_table(results: Row) -> Table:
    """Mean and standard deviation over the seeds, parts in columns."""
    whole = [row for row in results.get("spread", []) if "/" not in row["measure"]]
    parts = list(dict.fromkeys(row["part"] for row in whole))
    cells = {(row["measure"], row["part"]): _mean_text(row) for row in whole}
    names = dict.fromkeys(row["measure"] for row in whole)
    rows = [(label(name), *(cells.get((name, part)) for part in parts)) for name in names]
    columns = [Column("measure"), *(Column(label(part), "number") for part in parts)]
    seeds = max((row["n"] for row in whole), default=0)
    note = f"Mean ± standard deviation over {seeds} seeds. {_yardstick_note(results)}"
    return Table("Measures", columns, rows, note.strip())


def spread_note(results: Row, part: str, name: str) -> str:
    """Deviation and number of seeds behind a mean; empty for a single run."""
    for row in results.get("spread", []):
        if (row["part"], row["measure"]) == (part, name) and is_number(row["sd"]):
            return f"± {measure(float(row['sd']), 3)}, {row['n']} seeds"
    return ""


def _mean_text(row: Row) -> str | None:
    if not is_number(row["mean"]):
        return None
    spread = f" ± {measure(float(row['sd']), 4)}" if is_number(row["sd"]) else ""
    return measure(float(row["mean"]), 4) + spread


def _yardstick(results: Row) -> tuple[str, str, float] | None:
    """Name, measure and value of the simple regression on validation data, where there is one."""
    ridge = results.get("one_hot_baseline") or {}
    if is_number(ridge.get("spearman")):
        return "one-hot ridge regression", "spearman", float(ridge["spearman"])
    found = dict(results.get("kmer_baseline") or {})
    k = found.pop("k", "k")
    for name, content in found.items():
        if is_number(content):
            return f"{k}-mer regression", name, float(content)
    return None


def _yardstick_note(results: Row) -> str:
    if not (found := _yardstick(results)):
        return ""
    name, what, content = found
    said = f"A {name} reaches {measure(content, 4)} ({label(what)}) on validation data"
    tested = (results.get("one_hot_baseline") or {}).get("test", {}).get(what)
    return said + (f", {measure(tested, 4)} on test data." if is_number(tested) else ".")


def _markov(score: Row) -> str:
    return f"order-{score['order']} Markov"


def _markov_table(parts: Mapping[str, Row], results: Row) -> Table:
    """The model above the Markov models, on the part that these were scored on."""
    name, part = list(parts.items())[-1]
    columns = [
        Column("model"),
        Column("accuracy", "percent", 2, best="max"),
        Column("perplexity", "number", 4, best="min"),
        Column("loss", "number", 4, best="min"),
    ]
    scores = [("this model", part), *((_markov(score), score) for score in results["baselines"])]
    rows = [
        (said, *(score.get(what) for what in ("accuracy", "perplexity", "loss")))
        for said, score in scores
    ]
    return Table(f"Masked {results.get('unit', 'bases')}, {label(name)}", columns, rows)


def _seed_figure(results: Row, seeds: Sequence[Row]) -> Figure:
    """The most telling measure of every seed, a row a part."""
    parts = scored_parts(results)
    name = told(results, next(iter(parts.values())))[0]
    groups = {
        label(part): [
            float(seed[part][name]) for seed in seeds if is_number(seed.get(part, {}).get(name))
        ]
        for part in parts
    }
    yardstick = _yardstick(results)
    references = {f"{yardstick[0]}, validation": yardstick[2]} if yardstick else {}
    return comparison(
        groups,
        label(name),
        references,
        title=f"{label(name)} of every seed",
        better="lower" if name in _LOWER else "higher",
    )


def _confusions(results: Row, seeds: Sequence[Row]) -> list[Figure]:
    """A confusion matrix a part; those of several seeds added up."""
    figures = []
    together = f"All {len(seeds)} seeds together." if len(seeds) > 1 else ""
    for part in scored_parts(results):
        found = [seed[part]["confusion"] for seed in seeds if "confusion" in seed.get(part, {})]
        if found:
            title = f"Confusion matrix, {label(part)}"
            counts = np.sum([np.asarray(matrix, dtype=float) for matrix in found], axis=0)
            classes = [str(name) for name in results.get("names") or range(len(counts))]
            figures.append(
                confusion_matrix(counts, classes, title=title, caption=together, unit="examples")
            )
    return figures


def _by_name(part: str, scores: Row, results: Row) -> Table | None:
    """The measures of every class, label or target, for parts that have them."""
    names = [str(name) for name in results.get("names", [])]
    kinds = [kind for kind in _PER_NAME if any(f"{kind}/{name}" in scores for name in names)]
    if not kinds:
        return None
    noun = _NOUNS.get(results.get("problem", ""), "name")
    columns = [Column(noun)]
    columns += [Column(label(k), "integer" if k == "support" else "number") for k in kinds]
    rows = [(name, *(scores.get(f"{kind}/{name}") for kind in kinds)) for name in names]
    note = "Means over the seeds." if "spread" in results else ""
    return Table(f"{noun.capitalize()} by {noun}, {label(part)}", columns, rows, note)


def _written(content: Any) -> str | None:
    return measure(content, 4) if is_number(content) else None
