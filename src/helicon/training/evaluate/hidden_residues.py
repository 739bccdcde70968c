"""Measuring a protein language model: how well it predicts hidden residues of any file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helicon.data.sampling.token_batches import TokenBatches
from helicon.data.tables.store import SequenceStore
from helicon.models.hub import HeliconForMaskedLM
from helicon.training.pretrain.masked_proteins import carp_loss, held_out_letters, measure_proteins
from helicon.training.yardsticks.markov import MarkovScore, protein_baselines

#: Share of the residues that are hidden, unless another is asked for.
RATE = 0.15
#: Positions and sequences in a batch. No result depends on them.
_TOKENS, _SEQUENCES = 16_384, 1024


@dataclass(frozen=True)
class HiddenResidues:
    """What was measured.

    Attributes:
        residues: of the file.
        metrics: `loss`, `accuracy`, `perplexity` on hidden residues, and `carp_loss`.
        baselines: Markov models scored on the same sequences.
    """

    residues: int
    metrics: dict[str, float]
    baselines: list[MarkovScore]


def hidden_residues(
    network: HeliconForMaskedLM,
    data: Path,
    *,
    sequence: str,
    rate: float | None,
    batch_size: int | None,
    seed: int,
    fit_on: Path | None,
    order: int = 2,
) -> HiddenResidues:
    """Measure a language model on whole proteins, beside Markov models.

    Args:
        network: the model, in evaluation mode.
        data: FASTA, CSV, TSV or Parquet file.
        sequence: column of sequences of a table.
        rate: share of the residues to hide; 0.15 if `None`.
        batch_size: most sequences in a batch.
        seed: of the hidden residues.
        fit_on: file of proteins that the Markov models are fitted on; `data` itself if `None`.
        order: highest order of the Markov models.

    Raises:
        InputError: a file cannot be read.
    """
    alphabet = network.backbone.alphabet

    def opened(path: Path) -> SequenceStore:
        return SequenceStore.open(path, alphabet=alphabet, sequence=sequence, unique=False)

    store = opened(data)
    held_out = TokenBatches(
        store,
        np.arange(len(store)),
        max_tokens=_TOKENS,
        max_sequences=batch_size or _SEQUENCES,
        seed=seed,
    )
    fitted = store if fit_on is None else opened(fit_on)
    scores = measure_proteins(network, held_out, rate or RATE)
    scores["carp_loss"] = carp_loss(network, held_out, rate or RATE)
    letters = held_out_letters(held_out)
    baselines = protein_baselines(fitted, np.arange(len(fitted)), letters, order=order)
    return HiddenResidues(store.total, scores, baselines)
