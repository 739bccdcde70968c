"""The costs of a grammar: its own, those of a TOML file, or learned from an annotation.

A file names the grammar and what differs from its defaults:

```toml
grammar = "genes"               # or free, spliced, classes
gene = -6.5                     # log cost of a gene (genes, spliced)
stops = ["TAA", "TAG", "TGA"]   # genes
overlaps = false                # genes: none that share one base or four
shortest = 120                  # genes: bases
switch = -5.0                   # free, spliced: log cost of another class

[starts]                        # genes: log cost of each start codon
ATG = -0.2
GTG = -1.8

[steps.intergenic]              # classes: log costs; what is not named is impossible
intergenic = -0.001
exon = -6.9
```
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA
from helicon.data.annotation.annotation import STRAND_CLASSES, Annotation, read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.tracks.reading import Runs
from helicon.errors import InputError
from helicon.files import existing_file
from helicon.inference.genes.codons import (
    BACTERIAL_START_COSTS,
    BACTERIAL_STARTS,
    BACTERIAL_STOPS,
    Codons,
)
from helicon.inference.genes.grammar import (
    GENE,
    SHORTEST,
    SWITCH,
    Grammar,
    GrammarName,
    choose_grammar,
    free,
    genes,
    of_classes,
    spliced,
)
from helicon.inference.genes.viterbi import Graph

_KEYS: dict[str, dict[str, type]] = {
    "free": {"switch": float},
    "genes": {"gene": float, "starts": dict, "stops": list, "overlaps": bool, "shortest": int},
    "spliced": {"gene": float, "switch": float},
    "classes": {"steps": dict, "start": list, "end": list},
}
_MEANT = {float: "a number of at most 0", list: "a list of texts", bool: "true or false",
          int: "a whole number", dict: "a table"}  # fmt: skip


def read_grammar(
    labels: Sequence[str],
    genome: Genome,
    *,
    grammar: Literal["auto", "free", "genes", "spliced"] = "auto",
    transitions: str | Path | None = None,
) -> Grammar:
    """The grammar for a model's classes.

    Args:
        labels: the classes.
        genome: that an annotation to learn from belongs to.
        grammar: which; `auto` follows from the names of the classes (`choose_grammar`).
        transitions: TOML file of costs, which also says the grammar; or an annotation (GFF, GTF,
            BED) to learn them from; the grammar's own if not given.

    Raises:
        InputError: a file is wrong, or does not fit the classes.
    """
    name: GrammarName = choose_grammar(labels) if grammar == "auto" else grammar
    if transitions is None:
        return _make(name, labels, {})
    path = existing_file(transitions, "file of transitions")
    if path.suffix.lower() != ".toml":
        return _learned(_make(name, labels, {}), labels, path, genome)
    content = _read_toml(path)
    said = content.pop("grammar", name)
    if said not in _KEYS:
        raise InputError(f"{path}: grammar {said!r} is unknown; free, genes, spliced or classes")
    if grammar not in ("auto", said):
        raise InputError(f"{path}: is for the grammar {said!r}, {grammar!r} is asked for")
    _check(path, said, content)
    try:
        return _make(said, labels, content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _make(name: GrammarName, labels: Sequence[str], given: dict[str, Any]) -> Grammar:
    if name == "classes":
        costs = _step_costs(labels, given.get("steps", {}))
        ends = {key: _known(labels, given[key], key) for key in ("start", "end") if key in given}
        return of_classes(name, labels, costs, **ends)
    if name == "free":
        return free(labels, switch=given.get("switch", SWITCH))
    gene = given.get("gene", GENE)
    if name == "spliced":
        return spliced(labels, gene=gene, switch=given.get("switch", SWITCH))
    starts = given.get("starts", dict(zip(BACTERIAL_STARTS, BACTERIAL_START_COSTS, strict=True)))
    for codon, cost in starts.items():
        if not _is_cost(cost):
            raise InputError(f"starts: {codon} must be a number of at most 0, not {cost!r}")
    return genes(
        labels,
        gene=gene,
        codons=Codons(
            tuple(starts), tuple(starts.values()), tuple(given.get("stops", BACTERIAL_STOPS))
        ),
        overlaps=given.get("overlaps", True),
        shortest=given.get("shortest", SHORTEST),
    )


# ---------------------------------------------------------------- files of costs


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML file that can be read ({error})") from error


def _check(path: Path, name: str, content: dict[str, Any]) -> None:
    """Refuse options that the grammar has not, and values of another type."""
    keys = _KEYS[name]
    for key, value in content.items():
        if key not in keys:
            raise InputError(f"{path}: {key!r} is no option of {name}; it has {', '.join(keys)}")
        wanted = keys[key]
        right = _is_cost(value) if wanted is float else type(value) is wanted
        if wanted is list and right:
            right = all(isinstance(one, str) for one in value)
        if not right:
            raise InputError(f"{path}: {key} must be {_MEANT[wanted]}, not {value!r}")


def _is_cost(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 0


def _step_costs(labels: Sequence[str], steps: dict[str, Any]) -> NDArray[np.float64]:
    costs = np.full((len(labels),) * 2, -np.inf)
    for before, row in steps.items():
        _known(labels, [before], "steps")
        if not isinstance(row, dict):
            raise InputError(f"steps: {before} must be a table of classes and costs, not {row!r}")
        for after, cost in row.items():
            _known(labels, [after], f"steps.{before}")
            if not _is_cost(cost):
                raise InputError(
                    f"steps: {before} to {after} must be a number of at most 0, not {cost!r}"
                )
            costs[labels.index(before), labels.index(after)] = cost
    return costs


def _known(labels: Sequence[str], names: Sequence[str], key: str) -> Sequence[str]:
    for name in names:
        if name not in labels:
            raise InputError(f"{key}: {name!r} is no class of the model ({', '.join(labels)})")
    return names


# ---------------------------------------------------------------- learning


def _learned(grammar: Grammar, labels: Sequence[str], path: Path, genome: Genome) -> Grammar:
    """A grammar with the costs that an annotation speaks for."""
    by: Literal["strand", "name"] = "strand" if tuple(labels[1:3]) == STRAND_CLASSES else "name"
    sites = grammar.name == "genes" and len(labels) > 3
    annotation = read_annotation(path, genome, sites=sites, by=by)
    if annotation.kind != "classes" or len(annotation.classes) != len(labels):
        raise InputError(
            f"{path}: has the classes {', '.join(annotation.classes) or '(values)'}, the model "
            f"{', '.join(labels)}; give an annotation like the one it was trained on"
        )
    counts = step_counts(annotation)
    if grammar.name == "genes":
        between = int(counts[0].sum())
        rate = (len(annotation.features) + 1) / (2 * between + 2)
        return genes(labels, gene=min(0.0, math.log(rate)), codons=_learned_starts(annotation))
    legal = grammar.graph.steps[0] > -np.inf
    smoothed = np.where(legal, counts + 1, 0)
    with np.errstate(divide="ignore"):
        costs = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
    graph = grammar.graph
    return replace(grammar, graph=Graph(graph.start, graph.end, costs[None]))


def _learned_starts(annotation: Annotation) -> Codons:
    """Start codons of table 11, each as dear as it is rare; counted with one more each."""
    genes_, genome = annotation.features, annotation.genome
    reverse = genes_.strand == "-"
    first = np.where(reverse, genes_.end - 3, genes_.start)
    found = genome.windows(genes_.chrom, first, 3, reverse=reverse)
    counts = [(found == DNA.encode(codon)).all(axis=1).sum() + 1 for codon in BACTERIAL_STARTS]
    costs = np.log(np.array(counts) / sum(counts))
    return Codons(start_costs=tuple(costs.tolist()))


def step_counts(annotation: Annotation) -> NDArray[np.int64]:
    """How often a base of one class is followed by one of another, (K, K).

    Args:
        annotation: of classes.
    """
    runs = annotation.track
    assert isinstance(runs, Runs)
    edges = np.unique(np.concatenate([runs.edges, runs.offsets]))
    values = runs.values[np.searchsorted(runs.edges, edges[:-1], side="right") - 1].astype(np.intp)
    size = len(annotation.classes)
    counts = np.diag(np.bincount(values, np.diff(edges) - 1, minlength=size).astype(np.int64))
    inside = ~np.isin(edges[1:-1], runs.offsets)
    np.add.at(counts, (values[:-1][inside], values[1:][inside]), 1)
    return counts
