"""A genome and its labels, divided as the user says, for fine-tuning on single positions."""

from __future__ import annotations

from dataclasses import replace

from helicon.alphabet import Alphabet
from helicon.data.annotation.annotation import Annotation, read_annotation
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, read_bed, split_blocks, split_chromosomes
from helicon.errors import InputError
from helicon.metrics.targets import Target
from helicon.training.adaptation.recipe import FinetuneRecipe
from helicon.training.kinds.labelled_genome import LabelledGenome, labelled_windows

#: The choice of labelled windows is the same for every seed of a run.
_BUDGET_SEED = 0


def default_context(receptive_field: int | None, window: int) -> int:
    """Bases on each side so that a window's edges see what they would see in a chromosome.

    Where the receptive field has no end, a quarter of the window.
    """
    if receptive_field is None:
        return window // 4
    return min(receptive_field // 2, window)


def check_genome(recipe: FinetuneRecipe, alphabet: Alphabet) -> None:
    """Refuse what does not go with labels of a genome's positions.

    Raises:
        InputError: the model reads proteins, or a mask is given.
    """
    if not alphabet.complements:
        raise InputError(
            f"{recipe.labels}: labels positions of a genome, but this model reads proteins; give "
            "their labels as FASTA, one character a residue"
        )
    if recipe.mask is not None:
        raise InputError("mask: is of labels of residues; leave it out")


def read_annotated(
    recipe: FinetuneRecipe, receptive_field: int | None
) -> tuple[LabelledGenome, tuple[str, ...]]:
    """Open the genome and labels of a recipe, and divide them.

    Args:
        recipe: with `labels`.
        receptive_field: of the model, `None` where it has no end.

    Returns:
        What to train on, and lines that say what was found and decided.

    Raises:
        InputError: a file is wrong (see `Genome.open`, `read_annotation`, `read_bed`), a part is
            empty, or it holds fewer labelled windows than asked for.
    """
    assert recipe.labels is not None
    genome = Genome.open(recipe.train)
    annotation = read_annotation(
        recipe.labels, genome, feature=recipe.feature, sites=recipe.sites, by=recipe.by
    )
    parts = _divided(genome, annotation, recipe)
    context = recipe.context
    if context is None:
        context = default_context(receptive_field, recipe.length)
    data = LabelledGenome(
        genome=genome,
        annotation=annotation,
        train=parts["train"],
        valid=parts["validation"],
        test=parts.get("test"),
        length=recipe.length,
        context=context,
    )
    notes = [_described(data)]
    if recipe.labelled_windows is not None:
        data = with_budget(data, recipe.labelled_windows, _BUDGET_SEED)
        notes.append(
            f"labels: {recipe.labelled_windows:,} windows of {recipe.length:,}, "
            f"{int(data.train.lengths.sum()):,} bases"
        )
    notes.append(f"context: {context:,} bases read on both sides of a window of {data.length:,}")
    return data, tuple(notes)


def with_budget(data: LabelledGenome, windows: int, seed: int) -> LabelledGenome:
    """Keep the labels of so many windows of the training part, chosen by `seed`."""
    return replace(data, train=labelled_windows(data.train, data.length, windows, seed))


def _divided(
    genome: Genome, annotation: Annotation, recipe: FinetuneRecipe
) -> dict[str, Intervals]:
    if recipe.intervals is not None:
        rows = read_bed(recipe.intervals, genome)
        parts = {name: rows.take(rows.split == name) for name in set(rows.split)}
        for name in ("train", "validation"):
            if name not in parts:
                raise InputError(
                    f"{recipe.intervals}: no row has {name!r} in its fourth column; training "
                    "needs such rows"
                )
        return parts
    valid, test = recipe.valid_chromosomes or [], recipe.test_chromosomes or []
    if valid or test:
        if not valid:
            raise InputError("test_chromosomes: name valid_chromosomes too, to choose on")
        parts = split_chromosomes(genome, valid, test)
    else:
        genes = annotation.features if len(annotation.features) else None
        parts = split_blocks(genome, block=recipe.split_block, whole=genes)
    return {name: part for name, part in parts.items() if len(part)}


def _described(data: LabelledGenome) -> str:
    sizes = [f"train {int(data.train.lengths.sum()):,}"]
    sizes.append(f"validation {int(data.valid.lengths.sum()):,}")
    if data.test is not None:
        sizes.append(f"test {int(data.test.lengths.sum()):,}")
    classes = data.annotation.classes
    what = f"{len(classes)} classes ({', '.join(classes[:8])})" if classes else "values"
    return f"data: {what}; bases: {', '.join(sizes)}"


def genome_target(data: LabelledGenome) -> Target:
    """What a token model is to predict.

    Raises:
        InputError: the training part has one class only, or one value.
    """
    path = data.genome.path
    if data.annotation.kind == "values":
        mean, scale = data.value_spread()
        if scale <= 1e-6 * abs(mean):
            raise InputError(f"{path}: the training part has one value only; nothing to learn")
        return Target("regression", ("value",), (mean,), (scale,))
    counts = data.class_counts()
    if (counts > 0).sum() < 2:
        raise InputError(
            f"{path}: the training part has one class only; choose more windows, larger blocks or "
            "another feature"
        )
    return Target.plain("single_label", data.annotation.classes)
