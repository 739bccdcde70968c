"""The jobs of `helicon mutants`, for `engine.run`: a landscape, or the mutants of a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from helicon.alphabet import PROTEIN, Ids
from helicon.data.tables.store import SequenceStore
from helicon.forward.network import Network
from helicon.inference.jobs.engine import write_parquet
from helicon.inference.jobs.job import Shard
from helicon.inference.mutants.scores import (
    MARGINALS,
    Protocol,
    Strategy,
    masked_likelihood,
    masked_log_p,
    open_likelihood,
    open_log_p,
)
from helicon.inference.mutants.table import Mutants

#: Positions of a shard that are hidden; and those of one in which nothing is hidden.
HIDDEN, OPEN = 1024, 65_536
#: The residues that a landscape substitutes, in the alphabet's order.
RESIDUES = PROTEIN.letters[:20]

Whole = NDArray[np.int64]
_CERTAIN = PROTEIN.real_table()


class Places(NamedTuple):
    """Positions (n,) of a protein, ascending, 0-based."""

    protein: int
    positions: Whole


class Changed(NamedTuple):
    """Variants of a protein, by what each changes.

    Attributes:
        protein: index of it.
        variants: how many.
        row: the variant of every substitution, ascending, (m,).
        positions: of every substitution, (m,).
        letters: ids of what stands there instead, (m,).
    """

    protein: int
    variants: int
    row: Whole
    positions: Whole
    letters: Ids


@dataclass(frozen=True)
class Proteins:
    """Wild types, opened in every process again.

    Attributes:
        path: FASTA file.
        digest: its SHA-256.
    """

    path: Path
    digest: str

    @classmethod
    def of(cls, path: str | Path) -> Proteins:
        """Read a file for the first time.

        Raises:
            InputError: the file is wrong.
        """
        return cls(Path(path), SequenceStore.open(path, alphabet=PROTEIN).sha256)

    def open(self) -> SequenceStore:
        """The sequences."""
        return _opened(self)


@lru_cache(maxsize=2)
def _opened(proteins: Proteins) -> SequenceStore:
    return SequenceStore.open(proteins.path, alphabet=PROTEIN, digest=proteins.digest)


def certain(store: SequenceStore, protein: int) -> Whole:
    """Positions of a protein that have one certain residue, ascending."""
    return np.flatnonzero(_CERTAIN[store.sequence(protein)])


@dataclass(frozen=True)
class Asked:
    """What is to be scored, and how.

    Attributes:
        model: what `Network.open` takes.
        proteins: the wild types.
        strategy: how mutants are scored.
        protocol: how several substitutions become one score.
        offset: the number of a wild type's first residue.
        comma: whether the output is CSV; else Parquet.
    """

    model: str | Path
    proteins: Proteins
    strategy: Strategy
    protocol: Protocol
    offset: int
    comma: bool


@dataclass(frozen=True, eq=False)
class MutantsJob(ABC):
    """What the jobs share.

    Attributes:
        asked: what is to be scored.
        said: metadata of the output.
    """

    asked: Asked
    said: tuple[tuple[str, str], ...]

    verb: ClassVar[str] = "mutants"
    unit: ClassVar[str] = "letters"

    @property
    def model(self) -> str | Path:
        """See `engine.Job`."""
        return self.asked.model

    @abstractmethod
    def shards(self) -> Iterator[Shard]:
        """See `engine.Job`."""

    @abstractmethod
    def worker(self, network: Network) -> Callable[[Any], pa.Table]:
        """See `engine.Job`."""

    @abstractmethod
    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """See `engine.Job`."""

    def total(self) -> int:
        """Positions that are looked at, in all passes."""
        return sum(shard.size for shard in self.shards())

    @property
    def column(self) -> str:
        """Name of the column of scores."""
        return f"score/{self.asked.strategy}"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        names = ("strategy", "protocol", "offset", "comma")
        options = {name: getattr(self.asked, name) for name in names}
        return options | {"wild_type": self.asked.proteins.digest}

    def _marginals(self, network: Network) -> Callable[[Places], pa.Table]:
        """Log-probabilities of all letters at some places, in order."""
        store = self.asked.proteins.open()

        def work(places: Places) -> pa.Table:
            protein, positions = places
            if self.asked.strategy == "masked-marginal":
                log_p = masked_log_p(network, store.sequence(protein), positions)
            else:
                log_p = open_log_p(network, store, protein, positions)
            return pa.table({"log_p": pa.FixedSizeListArray.from_arrays(log_p.ravel(), _LETTERS)})

        return work

    def _write(self, tables: Iterator[pa.Table], aside: Path, schema: pa.Schema) -> None:
        if not self.asked.comma:
            write_parquet(tables, aside, schema, dict(self.said))
            return
        with aside.open("wb") as file:
            for number, table in enumerate(chain([schema.empty_table()], tables)):
                pl.DataFrame(pl.from_arrow(table)).write_csv(file, include_header=not number)


_LETTERS = PROTEIN.size


def _log_p(table: pa.Table) -> NDArray[np.float32]:
    """Log-probabilities (n, V) of a finished shard."""
    return table["log_p"].combine_chunks().flatten().to_numpy().reshape(-1, _LETTERS)


@dataclass(frozen=True, eq=False)
class LandscapeJob(MutantsJob):
    """Every substitution at every position of every wild type."""

    def identity(self) -> dict[str, Any]:
        """See `MutantsJob`."""
        return super().identity() | {"landscape": True}

    def total(self) -> int:
        """Certain residues of all wild types."""
        store = self.asked.proteins.open()
        return sum(len(certain(store, protein)) for protein in range(len(store)))

    def shards(self) -> Iterator[Shard]:
        """Positions that follow each other."""
        store = self.asked.proteins.open()
        most = HIDDEN if self.asked.strategy == "masked-marginal" else OPEN
        for protein in range(len(store)):
            places = certain(store, protein)
            for first in range(0, len(places), most):
                some = places[first : first + most]
                yield Shard(Places(protein, some), len(some))

    def worker(self, network: Network) -> Callable[[Places], pa.Table]:
        """See `MutantsJob`."""
        return self._marginals(network)

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write a row a substitution, the residue that is there (score 0) among them."""
        schema = pa.schema(
            [
                ("protein", pa.string()),
                ("position", pa.int64()),
                ("wild_type", pa.string()),
                ("mutant", pa.string()),
                (self.column, pa.float32()),
            ]
        )
        shards = (shard.payload for shard in self.shards())
        tables = (self._rows(p, _log_p(t)) for p, t in zip(shards, parts, strict=True))
        self._write((t.cast(schema) for t in tables), aside, schema)

    def _rows(self, places: Places, log_p: NDArray[np.float32]) -> pa.Table:
        store, each = self.asked.proteins.open(), len(RESIDUES)
        old = store.sequence(places.protein)[places.positions]
        scores = log_p[:, :each] - log_p[np.arange(len(old)), old][:, None]
        letters = np.array(list(PROTEIN.letters))
        count = len(old) * each
        name = pa.array([store.name(places.protein)])
        return pa.table(
            {
                "protein": pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), name),
                "position": np.repeat(places.positions + self.asked.offset, each),
                "wild_type": np.repeat(letters[old], each),
                "mutant": np.tile(letters[:each], len(old)),
                self.column: scores.ravel(),
            }
        )


@dataclass(frozen=True, eq=False)
class TableJob(MutantsJob):
    """The mutants of a table.

    Attributes:
        rows: its rows.
        digest: SHA-256 of the file.
        reading: options that decide how it is read.
    """

    rows: Mutants
    digest: str
    reading: tuple[str, ...]

    def identity(self) -> dict[str, Any]:
        """See `MutantsJob`."""
        return super().identity() | {"table": self.digest, "reading": self.reading}

    def shards(self) -> Iterator[Shard]:
        """Positions of the wild types; or variants, the wild types among them."""
        if self.asked.strategy in MARGINALS:
            for places in self._places():
                yield Shard(places, len(places.positions))
        else:
            for changed, size in self._changed():
                yield Shard(changed, size)

    def worker(self, network: Network) -> Callable[[Any], pa.Table]:
        """Log-probabilities at some places; or of the residues of some variants."""
        if self.asked.strategy in MARGINALS:
            return self._marginals(network)
        store = self.asked.proteins.open()
        measure = (
            masked_likelihood if self.asked.strategy == "pseudo-perplexity" else open_likelihood
        )

        def work(changed: Changed) -> pa.Table:
            ids = np.tile(store.sequence(changed.protein), (changed.variants, 1))
            ids[changed.row, changed.positions] = changed.letters
            found = measure(network, ids, certain(store, changed.protein))
            return pa.table({"log_likelihood": found})

        return work

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write the table with its scores."""
        if self.asked.strategy in MARGINALS:
            columns = {self.column: self._summed(parts)}
        else:
            columns = self._likelihoods(parts)
        frame = self.rows.frame.with_columns(
            [pl.Series(name, values.astype(np.float32)) for name, values in columns.items()]
        )
        frame = frame if self.asked.comma else typed(frame)
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._write(iter([table]), aside, table.schema)

    def _flat(self) -> Whole:
        """Place of every substitution among the letters of all wild types, (m,)."""
        store, rows = self.asked.proteins.open(), self.rows
        return store.offsets[rows.protein[rows.row]] + rows.position

    def _places(self) -> Iterator[Places]:
        """The distinct positions that are substituted."""
        store = self.asked.proteins.open()
        distinct = np.unique(self._flat())
        owner = np.searchsorted(store.offsets, distinct, side="right") - 1
        most = HIDDEN if self.asked.strategy == "masked-marginal" else OPEN
        for protein in np.unique(owner).tolist():
            positions = distinct[owner == protein] - store.offsets[protein]
            for first in range(0, len(positions), most):
                yield Places(protein, positions[first : first + most])

    def _summed(self, parts: Iterator[pa.Table]) -> NDArray[np.float64]:
        """Score of every row from the log-probabilities at the distinct positions."""
        store, rows, flat = self.asked.proteins.open(), self.rows, self._flat()
        found = [_log_p(part) for part in parts]
        log_p = np.concatenate(found) if found else np.empty((0, _LETTERS), np.float32)
        at = np.searchsorted(np.unique(flat), flat)
        old = store.ids[flat] & 0x7F
        moved = log_p[at, rows.letter].astype(np.float64) - log_p[at, old]
        total = np.bincount(rows.row, moved, minlength=len(rows)).astype(np.float64)
        if self.asked.protocol == "proteingym":
            total /= np.maximum(rows.substitutions, 1)
        return total

    def _order(self) -> tuple[Whole, Whole]:
        """Wild types that rows have, and the rows sorted by them."""
        return np.unique(self.rows.protein), np.argsort(self.rows.protein, kind="stable")

    def _changed(self) -> Iterator[tuple[Changed, int]]:
        """Variants of one protein after another, of each the wild type first; and positions."""
        store, rows = self.asked.proteins.open(), self.rows
        proteins, order = self._order()
        ends = np.concatenate([[0], np.cumsum(rows.substitutions)])
        most = HIDDEN if self.asked.strategy == "pseudo-perplexity" else OPEN
        for protein in proteins.tolist():
            variants = np.concatenate([[-1], order[rows.protein[order] == protein]])
            counted = len(certain(store, protein))
            each = max(1, most // max(1, counted))
            for first in range(0, len(variants), each):
                some = variants[first : first + each]
                size = np.where(some < 0, 0, ends[some + 1] - ends[some])
                row = np.repeat(np.arange(len(some)), size)
                at = np.repeat(ends[some] - np.cumsum(size) + size, size) + np.arange(len(row))
                changed = Changed(protein, len(some), row, rows.position[at], rows.letter[at])
                yield changed, len(some) * counted

    def _likelihoods(self, parts: Iterator[pa.Table]) -> dict[str, NDArray[np.float64]]:
        """Scores of the rows, and for hidden residues the pseudo-perplexity."""
        store, (proteins, order) = self.asked.proteins.open(), self._order()
        found = np.concatenate([part["log_likelihood"].to_numpy() for part in parts])
        counts = np.bincount(np.searchsorted(proteins, self.rows.protein))
        heads = np.cumsum(counts + 1) - counts - 1  # where each wild type stands among `found`
        counted = np.array([max(1, len(certain(store, protein))) for protein in proteins.tolist()])
        own = np.repeat(np.arange(len(proteins)), counts)
        wild, values = found[heads][own], np.delete(found, heads)
        scores = values - wild
        if self.asked.protocol == "proteingym":
            scores /= counted[own]
        columns = {self.column: scores}
        if self.asked.strategy == "pseudo-perplexity":
            columns[self.asked.strategy] = np.exp(-values / counted[own])
        back = np.argsort(order, kind="stable")
        return {name: numbers[back] for name, numbers in columns.items()}


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame whose columns of text are numbers where all of their texts are."""
    return frame.with_columns([_typed(series) for series in frame.get_columns()])


def _typed(series: pl.Series) -> pl.Series:
    if series.dtype != pl.String:
        return series
    texts = series.str.strip_chars()
    texts = texts.set(texts == "", None)
    if texts.str.contains(r"^[-+]?0\d").any():  # 007 is a name
        return series
    for kind in (pl.Int64, pl.Float64):
        found = texts.cast(kind, strict=False)
        if found.null_count() == texts.null_count() < len(texts):
            return found
    return series
