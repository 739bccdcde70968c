"""What pretraining reads of proteins: parts of whole clusters, batches, Markov models beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import Alphabet, Ids
from helicon.data.sampling.clusters import Part, find_clusters, split_clusters
from helicon.data.sampling.token_batches import TokenBatches
from helicon.data.tables.store import SequenceStore
from helicon.files import sha256
from helicon.models.hub import HeliconForMaskedLM
from helicon.training.pretrain.distilled import DistilledTask
from helicon.training.pretrain.masked_proteins import (
    MaskedProteins,
    carp_loss,
    held_out_letters,
    measure_proteins,
    spread_rows,
)
from helicon.training.pretrain.recipe import Plan, ProteinData
from helicon.training.pretrain.result import Proteins, located
from helicon.training.yardsticks.markov import MarkovScore, protein_baselines

#: Highest order of the Markov models that a run is compared with.
_ORDER = 2


class ProteinCorpus:
    """The three parts of a file of proteins, and batches of them; see `pretrain.Corpus`."""

    unit = "residues"
    about = "proteins"

    def __init__(self, plan: Plan, options: ProteinData, alphabet: Alphabet):
        self.plan = plan
        self.options = options
        self.store = SequenceStore.open(
            located(options.data),
            alphabet=alphabet,
            sequence=options.sequence,
            unique=options.clusters is not None,
        )
        self.path = self.store.path
        clusters = find_clusters(self.store, options.clusters, options.cluster_by or "kmers")
        self.rows = split_clusters(
            self.store,
            clusters,
            validation=options.validation_fraction,
            test=options.test_fraction,
        )
        self.split: dict[str, int] = {
            part: int(self.store.lengths[rows].sum()) for part, rows in self.rows.items()
        }
        self.train = self._batches(self.rows["train"], crop=options.crop)
        self.validation = self._held_out("validation", options.validation_sequences)
        self.held_out = self._held_out("test", options.test_sequences)
        self.proteins: Proteins | None = Proteins(
            sequences={part: len(rows) for part, rows in self.rows.items()},
            clusters={part: len(np.unique(clusters.ids[rows])) for part, rows in self.rows.items()},
            clusters_by=clusters.found_by,
            batches=len(self.train.plan),
            real_fraction=self.train.plan.real_fraction,
        )

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of everything that is read."""
        hashes = {"proteins": self.store.sha256}
        if self.options.clusters is not None:
            hashes["clusters"] = sha256(self.options.clusters)
        return hashes

    @property
    def task(self) -> MaskedProteins | DistilledTask:
        """What to train."""
        accumulate, validation = self.plan.training.accumulate, self.validation
        if self.plan.distillation is None:
            masking = self.plan.masking
            return MaskedProteins(self.train, masking, accumulate=accumulate, validation=validation)
        rate = self.plan.mask_rate
        return DistilledTask(
            self._drawn,
            self.plan.distillation,
            seed=self.plan.training.seed,
            accumulate=accumulate,
            score=lambda network: measure_proteins(network, validation, rate) if validation else {},
        )

    def _drawn(self, number: int, rank: int, world: int) -> tuple[Ids, NDArray[np.bool_]]:
        """See `distilled.Drawn`."""
        found = self.train.batch(number, rank, world)
        return found.ids, found.real

    @property
    def batches_per_epoch(self) -> float:
        """Batches of one process in a pass over the training part."""
        return len(self.train.plan) / self.plan.world

    def test(self, network: HeliconForMaskedLM) -> dict[str, float]:
        """Measure on the test part; empty where there is none."""
        if self.held_out is None:
            return {}
        rate = self.plan.mask_rate
        scores = measure_proteins(network, self.held_out, rate)
        return scores | {"carp_loss": carp_loss(network, self.held_out, rate)}

    def baselines(self) -> list[MarkovScore]:
        """Markov models of the training part on the same sequences."""
        held_out = self.held_out or self.validation
        scored = [] if held_out is None else held_out_letters(held_out)
        return protein_baselines(self.store, self.rows["train"], scored, order=_ORDER)

    def _held_out(self, part: Part, most: int) -> TokenBatches | None:
        """Sequences to measure on; `None` where there is no such part."""
        rows = self.rows[part]
        return self._batches(spread_rows(rows, most)) if len(rows) else None

    def _batches(self, rows: NDArray[np.int64], crop: int | None = None) -> TokenBatches:
        options = self.options
        return TokenBatches(
            self.store,
            rows,
            max_tokens=options.max_tokens,
            max_sequences=options.max_sequences,
            seed=self.plan.training.seed,
            crop=crop,
        )
