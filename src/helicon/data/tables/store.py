"""Any number of sequences of any length, packed once into memory-mapped files.

`helicon.data.tables.tables` reads labelled sequences into memory; this is for those that do not
fit there. No Python object is kept for a sequence: letters and names lie one behind the other as
bytes, and offsets say where each begins.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helicon.alphabet import INVALID, SOFT_BIT, Alphabet, Ids
from helicon.data.genome.fasta import Header, stream_fasta
from helicon.data.genome.genome import gather_windows
from helicon.data.reading.cached import Index, let_go, made_once, mapped
from helicon.data.reading.compressed import open_bytes
from helicon.data.tables.stored_tables import Block, read_blocks
from helicon.data.tables.tables import outside
from helicon.errors import InputError
from helicon.files import cache_folder, existing_data, sha256, write_aside

#: What to do about a record that is empty or has letters outside the alphabet.
OnError = Literal["fail", "skip"]
Whole = NDArray[np.int64]

#: Changes with what the files of a store mean: stores of other versions are not looked at.
_STORE_VERSION = 3
_FILES = ("ids.u8", "offsets.i64", "names.u8", "name_offsets.i64", "places.i64")
_LETTER = np.uint8(0xFF ^ SOFT_BIT)
#: Records that were left out, of which an index keeps what was wrong.
_EXAMPLES = 3
#: Numbers that wait to be written.
_WAITING = 1 << 16


@dataclass(frozen=True, eq=False)
class SequenceStore:
    """Sequences one behind the other in one memory-mapped array.

    Attributes:
        path: the file that they were read from.
        sha256: hash of that file's bytes.
        alphabet: how the letters were read.
        ids: all letters of the file, shape (total,), uint8 with `SOFT_BIT` on lower case.
        offsets: sequence `i` is `ids[offsets[i]:offsets[i + 1]]`, shape (n + 1,), int64.
        name_bytes: all names of the file, UTF-8.
        name_offsets: name `i` is `name_bytes[name_offsets[i]:name_offsets[i + 1]]`.
        places: where each sequence stands in the file, shape (n,): lines from 1, of a Parquet file
            rows from 1.
        skipped: records that were left out.
        reasons: what was wrong with the first of these.
    """

    path: Path
    sha256: str
    alphabet: Alphabet
    ids: Ids = field(repr=False)
    offsets: Whole = field(repr=False)
    name_bytes: Ids = field(repr=False)
    name_offsets: Whole = field(repr=False)
    places: Whole = field(repr=False)
    skipped: int = 0
    reasons: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        alphabet: Alphabet,
        sequence: str = "sequence",
        name: str | None = None,
        on_error: OnError = "fail",
        unique: bool = True,
        cache: str | Path | None = None,
        digest: str | None = None,
    ) -> SequenceStore:
        """Open a FASTA, CSV, TSV or Parquet file, packing it if its content is new.

        The store lies in the cache under the SHA-256 of the file and what was read of it, so an
        edited file is never served stale, and processes that start together share one. Packing
        takes a few dozen megabytes of memory whatever the size of the file (and while a FASTA file
        is packed, eight bytes a record), and a byte of disk a letter.

        Args:
            path: the file, plain or compressed with gzip or bgzip; its kind is seen from its
                content.
            alphabet: how letters are read.
            sequence: sequence column of a table, as in `helicon.data.tables.tables.read_table`.
            name: column of names of a table; by default `name` or `id`, or else rows are named by
                their number from 1.
            on_error: stop at a record that is empty or has letters outside the alphabet, or leave
                it out.
            unique: refuse a FASTA file with two records of one name. (Names of a table may repeat.)
            cache: the cache folder, `helicon.files.cache_folder()` if not given.
            digest: the file's SHA-256, where it was computed just before.

        Raises:
            InputError: as `helicon.data.genome.fasta.read_fasta` and
                `helicon.data.tables.tables.read_table`; no record is left; or the file changed
                while it was read.
            WorkError: the disk is full.
        """
        path = existing_data(path, "file of sequences")
        digest = digest or sha256(path)
        # A FASTA file has no columns; what they were asked to be makes no other store.
        fasta = is_fasta(path)
        columns = [] if fasta else [sequence, name]
        said = json.dumps([alphabet.name, alphabet.letters, *columns])
        key = f"{alphabet.name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        root = Path(cache or cache_folder()) / "sequences" / f"v{_STORE_VERSION}"
        folder = root / digest / key

        def make() -> Index:
            with _Packer.into(folder, alphabet, path, skip=on_error == "skip") as packer:
                if fasta:
                    packer.pack_fasta()
                else:
                    packer.pack_blocks(read_blocks(path, alphabet, sequence=sequence, name=name))
                if sha256(path) != digest:
                    raise InputError(
                        f"{path}: changed while it was read; start again when it is written"
                    )
                return packer.index()

        index = made_once(folder, _FILES, make)
        if index["skipped"] and on_error == "fail":
            raise InputError(f"{path}, {index['reasons'][0]}")
        if unique and index["repeated"]:
            raise InputError(f"{path}, {index['repeated']}")
        kinds = {"u8": np.uint8, "i64": np.int64}
        files = [mapped(folder / file, kinds[file.partition(".")[2]]) for file in _FILES]
        ids, offsets, name_bytes, name_offsets, places = files
        return cls(
            path,
            digest,
            alphabet,
            ids,
            offsets,
            name_bytes,
            name_offsets,
            places,
            index["skipped"],
            tuple(index["reasons"]),
        )

    def __len__(self) -> int:
        return len(self.places)

    @property
    def total(self) -> int:
        """Letters of all sequences."""
        return int(self.offsets[-1] - self.offsets[0])

    @cached_property
    def lengths(self) -> Whole:
        """Letters of every sequence, shape (n,)."""
        return np.diff(self.offsets)

    def part(self, start: int, end: int) -> SequenceStore:
        """Sequences `start` to before `end`, without a copy."""
        return replace(
            self,
            offsets=self.offsets[start : end + 1],
            name_offsets=self.name_offsets[start : end + 1],
            places=self.places[start:end],
        )

    def name(self, i: int | np.integer) -> str:
        """Name of sequence `i`."""
        at, end = self.name_offsets[i : i + 2]
        return self.name_bytes[at:end].tobytes().decode()

    def names(self, rows: slice = slice(None)) -> list[str]:
        """Names of some sequences that follow each other."""
        start, end, _ = rows.indices(len(self))
        offsets = self.name_offsets[start : end + 1]
        text = self.name_bytes[offsets[0] : offsets[-1]].tobytes()
        bounds = (offsets - offsets[0]).tolist()
        return [text[a:b].decode() for a, b in pairwise(bounds)]

    def sequence(self, i: int | np.integer) -> Ids:
        """Ids of sequence `i`, shape (length,), without the soft-mask bit."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]] & _LETTER

    def gather(self, rows: ArrayLike) -> tuple[Ids, NDArray[np.bool_]]:
        """Copy sequences into one array, padded on the right.

        Args:
            rows: which, shape (B,).

        Returns:
            Ids (B, longest) without the soft-mask bit, and true at real positions, (B, longest).
        """
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        longest = int(lengths.max(initial=0))
        ids = self.windows(rows, np.zeros(len(rows), dtype=np.int64), longest)
        return ids, np.arange(longest) < lengths[:, None]

    def windows(
        self,
        rows: ArrayLike,
        starts: ArrayLike,
        length: int,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> Ids:
        """Gather windows of one length, as `helicon.data.genome.genome.Genome.windows` does.

        Args:
            rows: sequence of each window, shape (n,).
            starts: first letter of each window, shape (n,).
            length: letters of each window.
            reverse: which windows to give as reverse complement, shape (n,); DNA only.

        Returns:
            Ids of shape (n, length) without the soft-mask bit, padding beyond the ends.
        """
        rows, starts = np.asarray(rows, dtype=np.int64), np.asarray(starts, dtype=np.int64)
        at = self.offsets[rows]
        lengths = self.offsets[rows + 1] - at
        out = gather_windows(self.ids, at, lengths, starts, length, self.alphabet.pad_id) & _LETTER
        if reverse is not None and reverse.any():
            out[reverse] = self.alphabet.reverse_complement(out[reverse])
        return out

    def let_go(self) -> None:
        """Give back the memory of what was looked at."""
        for mapping in (self.ids, self.offsets, self.name_bytes, self.name_offsets, self.places):
            let_go(mapping)


def is_fasta(path: Path) -> bool:
    """Whether a file of sequences is FASTA, or at least no table."""
    with open_bytes(path, "file of sequences") as handle:
        start = handle.read(8192).lstrip()
    # What is neither, the FASTA reader knows best: it tells FASTQ, GenBank and the like by name.
    return start.startswith((b">", b"@", b"LOCUS ", b"ID   ", b"##gff", b"{"))


class _Packer:
    """Writes the files of a store, record by record or many rows at a time."""

    def __init__(self, files: list[IO[bytes]], alphabet: Alphabet, path: Path, skip: bool):
        self.letters, offsets, self.name_bytes, name_offsets, places = files
        self.offsets, self.name_offsets = _Numbers(offsets, 0), _Numbers(name_offsets, 0)
        self.places = _Numbers(places)
        self.alphabet, self.path, self.skip = alphabet, path, skip
        self.ends = self.name_ends = 0  # of what is kept so far
        self.count = self.skipped = 0
        self.reasons: list[str] = []
        self.hashes = array("q")

    @classmethod
    @contextlib.contextmanager
    def into(cls, folder: Path, alphabet: Alphabet, path: Path, *, skip: bool) -> Iterator[_Packer]:
        """Open the files of a folder aside; they are renamed into place when the block ends."""
        with contextlib.ExitStack() as stack:
            asides = [stack.enter_context(write_aside(folder / name)) for name in _FILES]
            packer = cls(
                [stack.enter_context(aside.open("w+b")) for aside in asides], alphabet, path, skip
            )
            yield packer

    def pack_fasta(self) -> None:
        """Pack a FASTA file."""
        header: Header | None = None

        def left_out(wrong: Header, error: InputError) -> None:
            nonlocal header
            self._leave_out(str(error).removeprefix(f"{self.path}, "))
            if header is wrong:
                self.letters.seek(self.ends)
                self.letters.truncate()
                header = None

        pieces = stream_fasta(
            self.path, self.alphabet, unique=False, left_out=left_out if self.skip else None
        )
        for at, ids in pieces:
            if at is not header:
                self._close(header)
                header = at
            self.letters.write(ids.data)
        self._close(header)

    def _close(self, header: Header | None) -> None:
        """End the record whose letters were written last."""
        if header is None:
            return
        name = header.name.encode()
        self.name_bytes.write(name)
        self.hashes.append(hash(name))
        self.ends, self.name_ends = self.letters.tell(), self.name_ends + len(name)
        self.offsets.add(self.ends)
        self.name_offsets.add(self.name_ends)
        self.places.add(header.line)
        self.count += 1

    def _leave_out(self, reason: str) -> None:
        self.skipped += 1
        if len(self.reasons) < _EXAMPLES:
            self.reasons.append(reason)

    def pack_blocks(self, blocks: Iterator[Block]) -> None:
        """Pack the rows of a table."""
        for block in blocks:
            ids = self.alphabet.reading_table[block.letters]
            wrong = self._wrong(block, ids)
            keep = ~wrong
            self._write(self.letters, ids, block.offsets, keep, self.offsets, self.ends)
            names = block.names, block.name_offsets
            self._write(self.name_bytes, *names, keep, self.name_offsets, self.name_ends)
            self.ends, self.name_ends = self.letters.tell(), self.name_bytes.tell()
            self.places.extend(block.places[keep])
            self.count += int(keep.sum())

    def _wrong(self, block: Block, ids: Ids) -> NDArray[np.bool_]:
        """Which rows (n,) are empty or have letters outside the alphabet; refuse, or note them."""
        wrong = np.diff(block.offsets) == 0
        invalid = np.flatnonzero(ids == INVALID)
        wrong[np.unique(np.searchsorted(block.offsets, invalid, side="right") - 1)] = True
        for row in np.flatnonzero(wrong):
            reason = "the sequence is empty; fill it in or remove the row"
            if block.offsets[row] < block.offsets[row + 1]:
                raw = block.letters[block.offsets[row] : block.offsets[row + 1]]
                reason = outside(raw, self.alphabet)
            reason = f"{block.unit} {block.places[row]}: {reason}"
            if not self.skip:
                raise InputError(f"{self.path}, {reason}")
            self._leave_out(reason)
        return wrong

    @staticmethod
    def _write(
        file: IO[bytes],
        data: Ids,
        offsets: Whole,
        keep: NDArray[np.bool_],
        ends: _Numbers,
        before: int,
    ) -> None:
        """Write the rows of packed data that are kept, and where they end."""
        lengths = np.diff(offsets)
        kept = data if keep.all() else data[np.repeat(keep, lengths)]
        file.write(np.ascontiguousarray(kept).data)
        ends.extend(before + np.cumsum(lengths[keep]))

    def index(self) -> Index:
        """Write what waits; what the store's index says.

        Raises:
            InputError: nothing is left.
        """
        if not self.count:
            first = f" ({self.reasons[0]})" if self.reasons else ""
            raise InputError(f"{self.path}: none of {self.skipped:,} records can be read{first}")
        for numbers in (self.offsets, self.name_offsets, self.places):
            numbers.write()
        return {"skipped": self.skipped, "reasons": self.reasons, "repeated": self._repeated()}

    def _repeated(self) -> str | None:
        """What is wrong where two records of a FASTA file have one name."""
        hashes = np.frombuffer(self.hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        again = order[1:][hashes[order[1:]] == hashes[order[:-1]]]
        for at in np.sort(again).tolist():
            first = int(np.argmax(hashes == hashes[at]))
            if self._name(first) == self._name(at):
                return (
                    f"line {self._place(at)}, record {self._name(at)!r}: is named as the one in "
                    f"line {self._place(first)}; rename one"
                )
        return None

    def _name(self, i: int) -> str:
        start, end = self.name_offsets.read(i, 2)
        self.name_bytes.seek(start)
        return self.name_bytes.read(end - start).decode()

    def _place(self, i: int) -> int:
        return self.places.read(i, 1)[0]


class _Numbers:
    """Writes int64 numbers to a file, many at a time."""

    def __init__(self, file: IO[bytes], *first: int):
        self._file = file
        self._waiting = array("q", first)

    def add(self, number: int) -> None:
        self._waiting.append(number)
        if len(self._waiting) > _WAITING:
            self.write()

    def extend(self, numbers: Whole) -> None:
        self.write()
        self._file.write(np.ascontiguousarray(numbers, dtype=np.int64).data)

    def write(self) -> None:
        self._file.write(self._waiting)
        self._waiting = array("q")

    def read(self, at: int, count: int) -> list[Any]:
        """Some numbers that are written."""
        self._file.seek(8 * at)
        return np.frombuffer(self._file.read(8 * count), np.int64).tolist()
