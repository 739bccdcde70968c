"""What a network gives for every row of a table, or for every position of stretches of a genome."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import Alphabet, Ids
from helicon.data.sampling.batching import evaluation_batches
from helicon.data.tables.tables import SequenceTable

Outputs = NDArray[np.float32]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Switch dropout off; give the device that the model is on."""
    was_training = model.training
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        model.train(was_training)


@torch.no_grad()
def logits(model: nn.Module, ids: Ids, mask: NDArray[np.bool_], device: torch.device) -> Outputs:
    """Outputs of one batch, without gradients.

    Args:
        model: with a head.
        ids: (B, L).
        mask: true at real positions, (B, L).
        device: of the model.

    Returns:
        float32, (B, K) of a sequence head or (B, L, K) of a token head.
    """
    found = model(**as_inputs(ids, mask, device)).logits
    return found.float().cpu().numpy()


def as_inputs(ids: Ids, mask: NDArray[np.bool_], device: torch.device) -> dict[str, Tensor]:
    """Arguments of a model; without a mask where nothing is padded, which is faster."""
    inputs = {"input_ids": torch.from_numpy(ids).to(device).long()}
    if not mask.all():
        inputs["attention_mask"] = torch.from_numpy(mask).to(device)
    return inputs


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
