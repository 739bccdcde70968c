"""Fine-tuning on contacts: which residues of a protein touch each other.

The backbone reads whole proteins. In training the pair head sees random square crops of their maps;
in validation and tests whole maps. The loss is the mean binary cross-entropy over all known pairs
that are far enough apart, each pair once; contacts are not weighted unless that is asked for, so
that probabilities mean what they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.data.sampling.batching import LabelledBatches, evaluation_batches
from helicon.data.structures.structures import Structures
from helicon.forward.outputs import evaluating, logits
from helicon.metrics.contacts import MEASURES, RANGES, contact_precision, mean_precision
from helicon.metrics.scores import Scores, choose_monitor, direction
from helicon.metrics.targets import Target
from helicon.models.parts.heads import task_loss
from helicon.training.adaptation.adapt import Supervised
from helicon.training.adaptation.recipe import FinetuneSettings, default_batch, default_epochs
from helicon.training.kinds.contact_data import ContactData
from helicon.training.kinds.supervised import ClassWeights, loss_weights

Batch = dict[str, NDArray[Any]]

#: What chooses the checkpoint: of the measures of the long range the one with most pairs.
MONITOR = "long_precision_l"
#: What else is followed in training.
_WATCHED = tuple(f"{reach}_precision_l" for reach in RANGES)
#: Pairs of the crops of a batch at most, where the batch size is not given.
_BATCH_PAIRS = 2**17
#: Rows and columns of a crop at most, where that is not given.
_CROP = 256
#: Tells the random numbers of crops from others of the same seed.
_CROPS = 0x6372_6F70


class ContactTask:
    """Proteins with their contacts, for the fit loop.

    Attributes:
        monitor: the measure that chooses the best checkpoint.
        mode: its direction.
        weights: of contacts in the loss, (1,); `None` for no weight.
    """

    def __init__(
        self,
        data: ContactData,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        crop: int = _CROP,
        separation: int = 6,
        weights: ClassWeights = "none",
        monitor: str | None = None,
    ):
        self.monitor = choose_monitor(monitor, MONITOR, MEASURES)
        self.mode = direction(self.monitor)
        self.train, self.valid = data.train, data.valid
        self.accumulate, self.seed = accumulate, seed
        self.crop, self.separation = crop, separation
        self.batches = LabelledBatches(data.train.table, batch_size, seed)
        contacts, pairs = data.counts.beyond(separation)
        self._watched = {"loss", *_WATCHED, self.monitor}
        self.weights = loss_weights("multi_label", np.array([contacts]), pairs, weights)

    def steps_per_epoch(self, world: int = 1) -> int:
        """Optimiser steps in which every protein is seen about once."""
        return max(1, round(self.batches.steps_per_epoch(world) / self.accumulate))

    def batch(self, step: int, micro: int, rank: int, world: int) -> Batch:
        """See `helicon.training.loop.fit.Task`."""
        number = (step - 1) * self.accumulate + micro
        found = self.batches.batch(number, rank, world)
        proteins, side = found["rows"], min(self.crop, found["ids"].shape[1])
        room = np.maximum(self.train.lengths[proteins] - side, 0)
        rng = np.random.default_rng((self.seed, number, rank, _CROPS))
        # The pairs of a crop whose columns begin before its rows are those of another.
        rows, columns = np.sort(rng.integers(0, room + 1, size=(2, len(room))), axis=0)
        labels = [
            self.train.labels(k, int(rows[i]), int(columns[i]), side, self.separation)
            for i, k in enumerate(proteins)
        ]
        batch: Batch = {"input_ids": found["ids"], "labels": np.stack(labels)}
        if not found["mask"].all():
            batch["attention_mask"] = found["mask"]
        return batch | ({"rows": rows, "columns": columns} if room.any() else {})

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See `helicon.training.loop.fit.Task`."""
        labels = batch["labels"]
        crops: dict[str, Any] = {}
        if "rows" in batch:
            crops = {"rows": batch["rows"], "columns": batch["columns"], "side": labels.shape[-1]}
        ids, mask = batch["input_ids"].long(), batch.get("attention_mask")
        found = model(input_ids=ids, attention_mask=mask, **crops).logits.unsqueeze(-1)
        weights = None if self.weights is None else self.weights.to(found.device)
        count = (labels >= 0).sum().float()
        mean = task_loss(found, labels.unsqueeze(-1), "multi_label", weights)
        return mean * count, count

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The loss, the precision of L pairs of every range, and the monitor."""
        found = score_contacts(model, self.valid, self.separation)[0].main
        return {name: value for name, value in found.items() if name in self._watched}


def score_contacts(
    model: nn.Module, structures: Structures, separation: int
) -> tuple[Scores, pl.DataFrame]:
    """Measure a model on whole proteins, one by one.

    Args:
        model: of contacts.
        structures: the proteins.
        separation: residues that a pair is apart at least, for the loss.

    Returns:
        The mean of every measure over the proteins that have it, and the mean `loss` over pairs;
        and a table with a row a protein, in the order of the file: `name`, `length`, `valid`
        (residues of which something is known), `contacts` (at least `separation` apart), and the
        measures.
    """
    rows: list[dict[str, Any]] = [{}] * len(structures)
    measured: list[dict[str, float]] = []
    total, pairs = 0.0, 0
    with evaluating(model) as device:
        for batch in evaluation_batches(structures.table, 1):
            k = int(batch["rows"][0])
            found = logits(model, batch["ids"], batch["mask"], device)[0]
            labels = structures.labels(k, 0, 0, len(found), separation)
            known = labels >= 0
            values = found[known].astype(np.float64)
            total += float((np.logaddexp(0, values) - labels[known] * values).sum())
            pairs += len(values)
            valid = structures.valid_residues(k)
            measured.append(contact_precision(found, structures.contacts(k), valid))
            rows[k] = {
                "name": structures.name(k),
                "length": len(found),
                "valid": int(valid.sum()),
                "contacts": int((labels == 1).sum()),
                **measured[-1],
            }
    loss = total / pairs if pairs else float("nan")
    scores = Scores({"loss": loss, **mean_precision(measured)})
    return scores, pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


@dataclass(frozen=True)
class ContactJob:
    """Fine-tuning on proteins with known contacts."""

    data: ContactData
    kind: Literal["pair"] = "pair"

    @property
    def target(self) -> Target:
        """What is predicted: one yes-or-no label a pair."""
        return Target.plain("multi_label", ("contact",))

    def crop(self, settings: FinetuneSettings) -> int:
        """Rows and columns of a crop at most."""
        return settings.pair_crop or _CROP

    def batch_size(self, settings: FinetuneSettings) -> int:
        """Proteins in a batch."""
        if settings.batch_size is not None:
            return settings.batch_size
        lengths = self.data.train.lengths
        side = min(self.crop(settings), int(np.quantile(lengths, 0.95, method="higher")))
        return min(default_batch(len(lengths), lengths), max(1, _BATCH_PAIRS // side**2))

    def task(self, settings: FinetuneSettings) -> ContactTask:
        """What the loop trains."""
        return ContactTask(
            self.data,
            batch_size=self.batch_size(settings),
            seed=settings.seed,
            accumulate=settings.accumulate,
            crop=self.crop(settings),
            separation=settings.head_settings.pair_separation,
            weights=settings.class_weights,
            monitor=settings.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        return default_epochs(len(self.data.train))

    def measure(
        self, model: Supervised, settings: FinetuneSettings
    ) -> Iterator[tuple[str, Scores, pl.DataFrame | None]]:
        """Measure a model, with a table of proteins for each part."""
        separation = settings.head_settings.pair_separation
        for name, part in (("validation", self.data.valid), ("test", self.data.test)):
            if part is not None:
                yield name, *score_contacts(model, part, separation)

    def notes(self, settings: FinetuneSettings) -> list[str]:
        """What was found and decided, a line each."""
        crop = self.crop(settings)
        longest = int(self.data.train.lengths.max())
        crops = f"maps of more than {crop} residues are trained in random crops of {crop} x {crop}"
        reached = f"{MONITOR} {self.data.by_separation[MONITOR]:.3f} on validation data"
        return [
            *self.data.notes,
            *([crops] if longest > crop else []),
            f"yardstick: pairs ranked by their separation alone: {reached}",
        ]

    def baseline(self) -> dict[str, dict[str, float]]:
        """What the frequency of contacts at each separation reaches on the validation data."""
        return {"separation_baseline": self.data.by_separation}
