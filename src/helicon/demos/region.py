"""The region that the genome-browser figure shows: held out, with genes on both strands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from helicon.data.annotation.annotation import Annotation, read_annotation
from helicon.data.catalogue.example import example_annotation, example_genome
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, read_bed
from helicon.forward.outputs import position_outputs, training_tiling
from helicon.models.hub import load
from helicon.report.results.demo import Gene, Region, RegionTrack

#: Bases of the region: about twelve genes.
SPAN = 12_000


def held_out_region(models: Mapping[str, Path], split: Path, length: int, context: int) -> Region:
    """Predict along one stretch of the test blocks with every model.

    Args:
        models: name to folder of a token classification model with the classes `intergenic`,
            `forward` and `reverse`.
        split: BED file whose fourth column names the parts.
        length: labelled positions of the windows that the models learned from.
        context: bases on both sides of them, for models without a receptive field.
    """
    genome = Genome.open(example_genome())
    annotation = read_annotation(example_annotation(), genome)
    blocks = read_bed(split, genome).select("test")
    chrom, start = most_balanced(annotation, blocks)
    end = start + SPAN
    name = genome.names[chrom]
    tracks = []
    for label, folder in models.items():
        model = load(folder)
        tiles = position_outputs(
            model,
            genome,
            Intervals.of(genome.names, [chrom], [start], [end]),
            training_tiling(model, length, context),
            opposite=annotation.opposite,
        )
        logits = np.concatenate([tile.values.cpu().numpy() for tile in tiles])
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        chances = odds / odds.sum(axis=-1, keepdims=True)
        columns = [annotation.classes.index(strand) for strand in ("forward", "reverse")]
        tracks.append(RegionTrack.of(label, *(chances[:, column] for column in columns)))
    genes = annotation.features
    near = (genes.chrom == chrom) & (genes.start < end) & (genes.end > start)
    shown = tuple(Gene(g.start, g.end, g.strand, g.name) for g in genes.take(near))
    return Region(name, start, end, "test block, held out", shown, tuple(tracks))


def most_balanced(annotation: Annotation, blocks: Intervals) -> tuple[int, int]:
    """Chromosome and start of the stretch whose two strands carry the most equal share of genes.

    The choice looks at the annotation alone, never at a prediction.
    """
    forward, reverse = (annotation.classes.index(name) for name in ("forward", "reverse"))
    best = (-1.0, 0, 0)
    for chrom, first, last in zip(blocks.chrom, blocks.start, blocks.end, strict=True):
        for start in range(int(first), int(last) - SPAN, SPAN // 4):
            labels = annotation.windows([chrom], [start], SPAN)
            share = min((labels == forward).mean(), (labels == reverse).mean())
            best = max(best, (float(share), -int(chrom), -start))
    return -best[1], -best[2]
