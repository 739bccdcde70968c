"""Contacts: which residues of a protein touch each other.

The backbone reads whole proteins. In training the pair head sees random square crops of their maps;
in validation and tests whole maps. The loss is the mean binary cross-entropy over all known pairs
that are far enough apart, each pair once; contacts are not weighted unless that is asked for, so
that probabilities mean what they say.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import PROTEIN, Alphabet
from helicon.archives import through
from helicon.data.sampling.batching import LabelledBatches, evaluation_batches
from helicon.data.structures.files import read_structures
from helicon.data.structures.structures import Structures
from helicon.errors import InputError
from helicon.forward.outputs import evaluating, logits
from helicon.metrics.contacts import MEASURES, RANGES, contact_precision, mean_precision
from helicon.metrics.measured import Measures, choose_monitor, direction
from helicon.metrics.targets import Target
from helicon.models.hub import HeliconPreTrainedModel
from helicon.models.huggingface.contacts import HeliconForContacts
from helicon.models.parts.heads import task_loss
from helicon.training.adaptation.adapt import HeadSettings, Supervised
from helicon.training.adaptation.linear import Examples
from helicon.training.adaptation.losses import Batch, ClassWeights, loss_weights
from helicon.training.adaptation.options import Adapt, Fit, default_batch, default_epochs
from helicon.training.kinds.kind import (
    Answer,
    Head,
    Kind,
    Measured,
    check_held_out,
    parts_of,
)
from helicon.training.kinds.splits import hold_out, shared_sequences
from helicon.training.run.options import Asked, check_numbers, only
from helicon.training.run.recipe import check_counts

#: What chooses the checkpoint: of the measures of the long range the one with most pairs.
MONITOR = "long_precision_l"
#: What else is followed in training.
_WATCHED = tuple(f"{reach}_precision_l" for reach in RANGES)
#: Pairs of the crops of a batch at most, where the batch size is not given.
_BATCH_PAIRS = 2**17
#: Tells the random numbers of crops from others of the same seed.
_CROPS = 0x6372_6F70
#: Held-out proteins are the same for every seed of a run, so that seeds can be compared.
_SPLIT_SEED = 0
#: Proteins at most whose pairs are counted, spread over the file.
_COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Contacts(Kind):
    """Proteins with coordinates or contacts (ProteinNet, JSON, Parquet).

    Attributes:
        separation: contacts: residues that a pair is apart at least, to be learned.
        pair_crop: contacts: rows and columns of the random crops of larger maps in training.
            Validation and tests are of whole maps.
        pair_width: contacts: channels of a pair in the head.
        pair_blocks: contacts: residual blocks of the head.
    """

    title: ClassVar[str] = "Data: proteins with contacts"
    what: ClassVar[str] = "proteins with contacts"
    head: ClassVar[Head] = "pair"
    without: ClassVar[frozenset[str]] = frozenset({"head"})
    has_probe: ClassVar[bool] = False

    task: Literal["contacts"] = only("finetune", "contacts")
    valid: Path | None = only("finetune", None)
    test: Path | None = only("finetune", None)
    validation_fraction: float = only("finetune", 0.1)
    separation: int = only("finetune", 6)
    pair_crop: int = only("finetune", 256)
    pair_width: int = only("finetune", 32)
    pair_blocks: int = only("finetune", 10)
    predictions: Path | None = only("evaluate", None)

    def __post_init__(self) -> None:
        check_counts(self, ("separation", "pair_crop", "pair_width", "pair_blocks"))
        check_numbers(self, ("validation_fraction",), 0, 1, open="()")

    @classmethod
    def recognises(cls, data: Path, options: Mapping[str, Any], alphabet: Alphabet) -> bool:
        """Whatever the task `contacts` is asked of."""
        return options.get("task") == "contacts"

    @classmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a model gives one answer a pair."""
        return isinstance(network, HeliconForContacts)

    def head_settings(self, adapt: Adapt) -> HeadSettings:
        """See `Kind.head_settings`."""
        return replace(
            super().head_settings(adapt),
            pair_width=self.pair_width,
            pair_blocks=self.pair_blocks,
            pair_separation=self.separation,
        )

    def read(
        self, source: HeliconPreTrainedModel, adapt: Adapt, fit: Fit, asked: Asked
    ) -> ContactData:
        """See `Kind.read`.

        Raises:
            InputError: see `read_structures`; the model reads no proteins; training has no contact,
                or validation none by which could be chosen.
        """
        if source.backbone.alphabet is not PROTEIN:
            raise InputError(
                f"{self.data}: holds contacts of residues, but the model reads DNA; choose a "
                "protein model"
            )
        check_held_out(self.valid, asked)
        monitor = choose_monitor(fit.monitor, MONITOR, MEASURES)
        train = _structures(self.data)
        notes = [_described(train)]
        if self.valid is not None:
            valid = _structures(self.valid)
            notes += _shared(train, valid, "validation")
        else:
            target = Target.plain("multi_label", ("contact",))
            none = np.zeros((len(train), 1))
            rows, held = hold_out(train.table, none, target, self.validation_fraction, _SPLIT_SEED)
            notes.append(
                f"validation: {len(held):,} proteins held out of {len(train):,}, at random: "
                "relatives may stand on both sides; give a validation file for proteins that are "
                "unlike"
            )
            train, valid = train.take(rows), train.take(held)
        test = None if self.test is None else _structures(self.test)
        if test is not None:
            notes += _shared(train, test, "test")
        counts = PairCounts.of(train)
        if not counts.beyond(self.separation)[0]:
            raise InputError(
                f"{train.path}: has no contact of residues that are {self.separation} apart or "
                "more; there is nothing to learn"
            )
        _check_choice(valid, monitor)
        return ContactData(
            self, train, valid, test, counts, _by_separation(counts, valid), tuple(notes)
        )

    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """See `Measurable.evaluate`."""
        proteins = _structures(self.data)
        scores, frame = measure_contacts(network, proteins, network.config.pair_separation)
        return Answer(len(proteins), "proteins", scores, frame)

    @classmethod
    def next_command(cls, run: Path) -> str:
        """See `Kind.next_command`."""
        return f"predict {shlex.quote(str(run))} PROTEINS.fasta --out contacts.parquet"


def _structures(path: Path) -> Structures:
    return read_structures(through(path, "file to read"))


@dataclass(frozen=True)
class PairCounts:
    """Pairs and contacts at each separation.

    Attributes:
        contacts: number of contacts of residues that are so many apart, from 0.
        pairs: number of pairs of which it is known.
    """

    contacts: NDArray[np.int64]
    pairs: NDArray[np.int64]

    @classmethod
    def of(cls, structures: Structures, most: int = _COUNTED) -> PairCounts:
        """Count in some proteins, spread over all."""
        longest = int(structures.lengths.max())
        contacts, pairs = np.zeros(longest, np.int64), np.zeros(longest, np.int64)
        for k in range(0, len(structures), -(-len(structures) // most)):
            labels = structures.labels(k, 0, 0, int(structures.lengths[k]), 1)
            row, column = np.nonzero(labels >= 0)
            apart, hit = column - row, labels[row, column] == 1
            pairs += np.bincount(apart, minlength=longest)
            contacts += np.bincount(apart[hit], minlength=longest)
        return cls(contacts, pairs)

    def beyond(self, least: int, behind: int | None = None) -> tuple[int, int]:
        """Contacts, and pairs, that are at least so far apart, and less than `behind`."""
        return int(self.contacts[least:behind].sum()), int(self.pairs[least:behind].sum())

    def rate(self, length: int) -> NDArray[np.float64]:
        """Frequency of contacts at the separations 0 to `length - 1`; of unseen ones the last."""
        seen = np.flatnonzero(self.pairs)
        if not len(seen):
            return np.zeros(length)
        nearest = seen[np.searchsorted(seen, np.arange(length)).clip(max=len(seen) - 1)]
        return self.contacts[nearest] / self.pairs[nearest]


@dataclass(frozen=True)
class ContactData:
    """Proteins to train, choose and test on, and what was found out about them.

    Attributes:
        kind: the description.
        train: proteins to train on.
        valid: proteins to choose on.
        test: proteins to measure the final model on, if any.
        counts: of the pairs to train on.
        by_separation: measures on validation data of pairs ranked by how often residues that far
            apart are in contact in training.
        found: what was found and decided, a line each.
    """

    kind: Contacts
    train: Structures
    valid: Structures
    test: Structures | None
    counts: PairCounts
    by_separation: dict[str, float]
    found: tuple[str, ...]

    @property
    def target(self) -> Target:
        """What is predicted: one yes-or-no label a pair."""
        return Target.plain("multi_label", ("contact",))

    def batch_size(self, fit: Fit) -> int:
        """Proteins in a batch."""
        if fit.batch_size is not None:
            return fit.batch_size
        lengths = self.train.lengths
        side = min(self.kind.pair_crop, int(np.quantile(lengths, 0.95, method="higher")))
        return min(default_batch(len(lengths), lengths), max(1, _BATCH_PAIRS // side**2))

    def task(self, fit: Fit) -> ContactTask:
        """What the loop trains."""
        return ContactTask(
            self,
            batch_size=self.batch_size(fit),
            seed=fit.seed,
            accumulate=fit.accumulate,
            crop=self.kind.pair_crop,
            separation=self.kind.separation,
            weights=fit.class_weights,
            monitor=fit.monitor,
        )

    def epochs(self, steps_per_epoch: int) -> float:
        """Epochs, where the length is not given."""
        return default_epochs(len(self.train))

    def measure(self, model: Supervised, task: ContactTask) -> Iterator[Measured]:
        """See `Labelled.measure`; a table of proteins for each part."""
        for name, part in parts_of(self.valid, self.test):
            yield name, *measure_contacts(model, part, self.kind.separation)

    def examples(self, model: Supervised, fit: Fit) -> tuple[Examples, Examples]:
        """None: the head of pairs is no linear map of features."""
        raise NotImplementedError

    def notes(self, adapt: Adapt, probe: bool) -> list[str]:
        """See `Labelled.notes`."""
        crop = self.kind.pair_crop
        longest = int(self.train.lengths.max())
        crops = f"maps of more than {crop} residues are trained in random crops of {crop} x {crop}"
        reached = f"{MONITOR} {self.by_separation[MONITOR]:.3f} on validation data"
        return [
            *self.found,
            *([crops] if longest > crop else []),
            f"yardstick: pairs ranked by their separation alone: {reached}",
        ]

    def baseline(self) -> dict[str, dict[str, float]]:
        """What the frequency of contacts at each separation reaches on the validation data."""
        return {"separation_baseline": self.by_separation}


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
        crop: int = 256,
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
        found = measure_contacts(model, self.valid, self.separation)[0].main
        return {name: value for name, value in found.items() if name in self._watched}


def measure_contacts(
    model: nn.Module, structures: Structures, separation: int
) -> tuple[Measures, pl.DataFrame]:
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
    scores = Measures({"loss": loss, **mean_precision(measured)})
    return scores, pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _described(structures: Structures) -> str:
    lengths = structures.lengths
    contacts, pairs = PairCounts.of(structures).beyond(RANGES["all"][0])
    share = contacts / pairs if pairs else 0.0
    return (
        f"data: {len(structures):,} proteins of {lengths.min():,} to {lengths.max():,} residues, "
        f"{100 * structures.valid.mean():.3g} % of them with known contacts; {100 * share:.3g} % "
        f"of the pairs that are {RANGES['all'][0]} apart or more are in contact"
    )


def _shared(train: Structures, other: Structures, name: str) -> list[str]:
    shared = shared_sequences(train.table, other.table)
    if not shared:
        return []
    return [f"note: {shared:,} of {len(other):,} {name} proteins also stand in the training data"]


def _check_choice(valid: Structures, monitor: str) -> None:
    """Stop where validation data cannot tell one checkpoint from another."""
    reach = monitor.split("_")[0]
    if reach not in RANGES:
        return
    least, behind = RANGES[reach]
    if not PairCounts.of(valid, len(valid)).beyond(least, behind)[0]:
        raise InputError(
            f"{valid.path}: the validation proteins have no contact of the range {reach} "
            f"({least} residues apart or more), so {monitor} cannot choose a checkpoint; choose "
            "the monitor all_precision_l or loss, or give other proteins"
        )


def _by_separation(counts: PairCounts, valid: Structures) -> dict[str, float]:
    found = []
    for k in range(len(valid)):
        length = int(valid.lengths[k])
        apart = np.abs(np.arange(length)[:, None] - np.arange(length))
        guess = counts.rate(length)[apart]
        found.append(contact_precision(guess, valid.contacts(k), valid.valid_residues(k)))
    return mean_precision(found)
