"""`helicon predict` of a model of contacts: the pairs of residues that probably touch each other.

A protein's map is computed in exact tiles, of which only the most probable pairs are kept: memory
does not grow with the square of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from helicon.data.tables.store import OnError
from helicon.errors import InputError
from helicon.forward.memory import describe
from helicon.forward.network import Network
from helicon.inference.jobs import keyed
from helicon.inference.jobs.engine import run, write_parquet
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.inputs import Payload, Reading, say_skipped
from helicon.inference.jobs.job import Engine, Shard
from helicon.inference.jobs.keyed import Outcome
from helicon.inference.jobs.passes import Passes

#: Pairs that are written for each residue of a protein, where nothing else is asked.
PAIRS_PER_RESIDUE = 2.0

_SCHEMA = pa.schema(
    [("name", pa.string()), ("i", pa.int64()), ("j", pa.int64()), ("probability", pa.float32())]
)


@dataclass(frozen=True)
class Choice:
    """Which pairs of a protein are written.

    Attributes:
        per_residue: the most probable, so many for each residue (rounded down, at least one); or
            `None` for all
        threshold: that are at least so probable; `None` for all.
    """

    per_residue: float | None
    threshold: float | None

    @classmethod
    def of(cls, per_residue: float | None, threshold: float | None) -> Choice:
        """Check what is asked; `PAIRS_PER_RESIDUE` where nothing is.

        Raises:
            InputError: a number is out of range.
        """
        if per_residue is not None and not per_residue > 0:
            raise InputError(f"pairs: must be more than 0 for each residue, not {per_residue}")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold: is a probability, from 0 to 1, not {threshold}")
        if per_residue is None and threshold is None:
            per_residue = PAIRS_PER_RESIDUE
        return cls(per_residue, threshold)

    def limit(self, length: int) -> int | None:
        """Pairs of a protein of so many residues at most; `None` for no limit."""
        return None if self.per_residue is None else max(1, int(self.per_residue * length))


@dataclass(frozen=True)
class Found:
    """Pairs of one protein, the most probable first.

    Attributes:
        i: first residues, 0-based, (n,).
        j: second residues, (n,).
        logit: of a contact, (n,).
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    logit: NDArray[np.float32]

    def best(self, limit: int | None) -> Found:
        """The most probable; of equals those whose residues come first."""
        order = np.lexsort((self.j, self.i, -self.logit))[:limit]
        return Found(self.i[order], self.j[order], self.logit[order])

    def and_also(self, other: Found) -> Found:
        """Both together, in no order."""
        return Found(
            np.concatenate([self.i, other.i]),
            np.concatenate([self.j, other.j]),
            np.concatenate([self.logit, other.logit]),
        )


def predict_contacts(
    model: str,
    data: Path,
    network: Network,
    *,
    files: JobFiles,
    choice: Choice,
    sequence: str | None,
    name: str | None,
    on_error: OnError,
    window: int | None,
    overlap: int | None,
    where: Engine,
) -> Outcome:
    """Write the most probable contacts of every protein; `predict` documents the options.

    Raises:
        InputError: a file or an option is wrong.
        WorkError: the work stopped; it goes on with the same command.
    """
    reading, source = Reading.of(
        data, network.alphabet, regions=None, context=False,
        sequence=sequence, name=name, on_error=on_error,
    )  # fmt: skip
    passes = Passes(network, None, False, window, overlap)
    passes.check(source.longest(), context=False)
    separation = network.model.config.pair_separation
    said = keyed.said_of(network, model, source, "predict") | {
        "coordinates": "residues, 0-based, i before j",
        "pairs_per_residue": str(choice.per_residue),
        "threshold": str(choice.threshold),
        "separation": str(separation),
    }
    job = ContactsJob(
        model=model, reading=reading, choice=choice, channels=network.d_model,
        window=window, overlap=overlap, said=tuple(said.items()),
    )  # fmt: skip
    skipped = say_skipped(job.verb, source)
    describe(job.verb, network, source.total)
    done = run(job, files, where, network)
    return Outcome(files.out, len(source), skipped, done)


@dataclass(frozen=True)
class ContactsJob:
    """Compute the contacts of every protein of an input; for `engine.run`.

    Attributes:
        model: what `Network.open` takes.
        reading: the input.
        choice: which pairs are kept.
        channels: of the model's features.
        window: see `Tiling.of`.
        overlap: see there.
        said: metadata of the output.
    """

    model: str | Path
    reading: Reading
    choice: Choice
    channels: int
    window: int | None
    overlap: int | None
    said: tuple[tuple[str, str], ...]
    verb: str = "predict"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        options = {name: getattr(self, name) for name in ("window", "overlap")}
        asked = {"pairs": self.choice.per_residue, "threshold": self.choice.threshold}
        return options | asked | self.reading.identity() | {"kind": "contacts"}

    def total(self) -> int:
        """Letters of all proteins."""
        return self.reading.open().total

    def shards(self) -> Iterator[Shard]:
        """Proteins that follow each other."""
        letters = keyed.letters_each(self.channels)
        for payload, size in self.reading.open().shards(letters, keyed.ROWS, cut=False):
            yield Shard(payload, size)

    def worker(self, network: Network) -> Callable[[Payload], pa.Table]:
        """The pairs of a shard's proteins."""
        source = self.reading.open()
        passes = Passes(network, None, False, self.window, self.overlap)

        def work(payload: Payload) -> pa.Table:
            part = source.part(Payload(*payload))
            ends = np.cumsum(part.lengths)
            features = passes.features(part)
            tables = [
                _table(
                    part.keys["name"][row].as_py(), self._pairs(network, features[end - n : end])
                )
                for row, (end, n) in enumerate(zip(ends, part.lengths, strict=True))
            ]
            source.let_go()
            return pa.concat_tables(tables)

        return work

    def _pairs(self, network: Network, features: NDArray[np.float32]) -> Found:
        """The chosen pairs of one protein, from its features (L, D)."""
        limit, least = self.choice.limit(len(features)), network.model.config.pair_separation
        floor = -np.inf if self.choice.threshold is None else _logit(self.choice.threshold)
        found = Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        head = network.model.pair_head
        with network.computing():
            given = torch.from_numpy(features).to(network.device).unsqueeze(0)
            for row, column, tile in head.tiles(head.whole(given)):
                logits = tile[0, :, :, 0].float().cpu().numpy()
                found = found.and_also(_chosen(logits, row, column, least, floor))
                if limit is not None:
                    found = found.best(limit)
        return found.best(limit)

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write all parts."""
        write_parquet(parts, aside, _SCHEMA, dict(self.said))


def _chosen(
    logits: NDArray[np.float32], row: int, column: int, separation: int, floor: float
) -> Found:
    """Pairs of a tile, of residues far enough apart, whose logit is high enough."""
    apart = np.arange(column, column + logits.shape[1]) - np.arange(row, row + len(logits))[:, None]
    i, j = np.nonzero((apart >= separation) & (logits >= floor))
    return Found(i + row, j + column, logits[i, j])


def _logit(probability: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def _table(name: str, found: Found) -> pa.Table:
    probability = 1 / (1 + np.exp(-found.logit.clip(-80, 80)))
    columns = [pa.repeat(pa.scalar(name, pa.string()), len(found.i)), found.i, found.j, probability]
    return pa.table([pa.array(c) for c in columns], schema=_SCHEMA)
