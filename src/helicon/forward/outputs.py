"""What a model in training gives, for rows of a table and positions of a genome, to measure it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import Alphabet, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals
from helicon.data.sampling.batching import evaluation_batches
from helicon.data.tables.tables import SequenceTable
from helicon.forward.tiles import TileValues, Tiling, over_tiles

Outputs = NDArray[np.float32]

#: Bases of a batch of windows of a genome, context included.
_BATCH_BASES = 65_536
#: Tiles are this many contexts long, so that little is computed twice.
_CONTEXTS_A_TILE = 8


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Switch dropout off; give the device that the model is on."""
    was_training = model.training
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        model.train(was_training)


def logits(
    model: nn.Module, ids: Ids, mask: NDArray[np.bool_] | None, device: torch.device
) -> Outputs:
    """Outputs of one batch, without gradients.

    Args:
        model: with a head.
        ids: (B, L).
        mask: true at real positions, (B, L); `None` where all are.
        device: of the model.

    Returns:
        float32, (B, K) of a sequence head or (B, L, K) of a token head.
    """
    return _logits(model, ids, mask, device).cpu().numpy()


@torch.no_grad()
def _logits(
    model: nn.Module, ids: Ids, mask: NDArray[np.bool_] | None, device: torch.device
) -> Tensor:
    """See `logits`; without a mask where nothing is padded, which is faster."""
    inputs = {"input_ids": torch.from_numpy(ids).to(device).long()}
    if mask is not None and not mask.all():
        inputs["attention_mask"] = torch.from_numpy(mask).to(device)
    return model(**inputs).logits.float()


def table_outputs(
    model: nn.Module, table: SequenceTable, batch_size: int, *, both_strands: bool = False
) -> Outputs:
    """Outputs of a sequence model for every row.

    Args:
        model: with a sequence head.
        table: n sequences.
        batch_size: rows in a batch; the result does not depend on it.
        both_strands: give the mean of the outputs for a sequence and its reverse complement.

    Returns:
        (n, K), in the order of the table.
    """
    parts, rows = [], []
    with evaluating(model) as device:
        for batch in evaluation_batches(table, batch_size):
            found = logits(model, batch["ids"], batch["mask"], device)
            if both_strands:
                opposite = opposite_strand(batch["ids"], batch["mask"], table.alphabet)
                found = (found + logits(model, *opposite, device)) * np.float32(0.5)
            parts.append(found)
            rows.append(batch["rows"])
    outputs = np.concatenate(parts)
    ordered = np.empty_like(outputs)
    ordered[np.concatenate(rows)] = outputs
    return ordered


def opposite_strand(
    ids: Ids, mask: NDArray[np.bool_], alphabet: Alphabet
) -> tuple[Ids, NDArray[np.bool_]]:
    """Reverse complements of a batch (B, L) and their mask; padding changes sides."""
    return (
        np.ascontiguousarray(alphabet.reverse_complement(ids)),
        np.ascontiguousarray(mask[:, ::-1]),
    )


def training_tiling(model: nn.Module, length: int, context: int) -> Tiling:
    """Tiles in which a model is measured that learns from windows of a genome.

    Args:
        model: with a token head.
        length: labelled positions of a training window.
        context: bases on both sides of them, for a model without a finite receptive field. With
            half the receptive field, tiles give what one pass over the chromosome gives.
    """
    field: int | None = model.backbone.receptive_field  # type: ignore[union-attr, assignment]
    halo = context if field is None else field // 2
    size = max(length, min(_CONTEXTS_A_TILE * halo, _BATCH_BASES // 2))
    return Tiling(halo, size, batch=max(1, _BATCH_BASES // (size + 2 * halo)), padded=True)


def position_outputs(
    model: nn.Module,
    genome: Genome,
    stretches: Intervals,
    tiling: Tiling,
    *,
    opposite: NDArray[np.integer] | None = None,
) -> Iterator[TileValues]:
    """Outputs of a token model for every position of stretches of a genome.

    Args:
        model: with a token head.
        genome: the sequence.
        stretches: where; 0-based, half-open.
        tiling: as from `training_tiling`.
        opposite: for each output, the output that means the same on the other strand
            (`Annotation.opposite`); where given, the two strands' outputs are averaged.

    Yields:
        Outputs of tiles that follow one another and cover the stretches.
    """
    with evaluating(model) as device:

        def work(ids: Ids, mask: NDArray[np.bool_] | None) -> Tensor:
            return _logits(model, ids, mask, device)

        def turned(values: Tensor) -> Tensor:
            return values[..., np.asarray(opposite).tolist()]

        turn = None if opposite is None else turned
        yield from over_tiles(genome, stretches, tiling, work, opposite=turn)
