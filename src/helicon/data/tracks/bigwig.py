"""Writing bigWig files of dense values, a stretch at a time, in bounded memory.

The format is that of Kent et al., "BigWig and BigBed: enabling browsing of large distributed
datasets" (Bioinformatics 2010, supplement), version 4: sections of fixed step, four bytes a base
before compression, where interval lists take twelve. All integers are little-endian.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

_MAGIC, _TREE_MAGIC, _INDEX_MAGIC = 0x888FFC26, 0x78CA8C91, 0x2468ACE0
_HEADER = struct.Struct("<IHHQQQHHQQIQ")
_ZOOM_HEADER = struct.Struct("<IIQQ")
_SUMMARY = struct.Struct("<Qdddd")
_SECTION = struct.Struct("<IIIIIBBH")
_FIXED_STEP = 3

#: Values of a section, which is compressed and read as a whole.
SECTION = 4096
#: Summaries of a zoom section.
_ZOOM_SECTION = 512
#: Bases of a summary at the first zoom level; each further level has `_COARSER` times as many.
_FINEST, _COARSER, _LEVELS = 64, 4, 10
#: Entries of a node of the two trees.
_NODE = 256
#: Summaries that are read back at a time.
_AT_ONCE = 1 << 16

_RECORD = np.dtype(
    [
        ("chrom", "<u4"), ("start", "<u4"), ("end", "<u4"), ("count", "<u4"),
        ("least", "<f4"), ("most", "<f4"), ("sum", "<f4"), ("squares", "<f4"),
    ]
)  # fmt: skip
_EXTENT = ((0, "chrom"), (0, "start"), (-1, "end"))
_PLACES = np.dtype([("chrom", "<u4"), ("start", "<u4"), ("last", "<u4"), ("end", "<u4")])
_LEAF = np.dtype([*_PLACES.descr, ("offset", "<u8"), ("size", "<u8")])
_INNER = np.dtype([*_PLACES.descr, ("offset", "<u8")])


class _Places:
    """Where sections lie, on the genome and in the file: five numbers each, 40 bytes."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def __len__(self) -> int:
        return len(self._numbers) // 5

    def add(self, chrom: int, start: int, end: int, offset: int, size: int) -> None:
        """Add a section behind all others."""
        self._numbers.extend((chrom, start, end, offset, size))

    def leaves(self) -> NDArray[np.void]:
        """The entries of an index."""
        chrom, start, end, offset, size = np.array(self._numbers).reshape(-1, 5).T
        items = np.zeros(len(self), dtype=_LEAF)
        items["chrom"], items["last"], items["start"], items["end"] = chrom, chrom, start, end
        items["offset"], items["size"] = offset, size
        return items


class BigWigWriter:
    """A bigWig file in the making; a context manager.

    Chromosomes have the order of the genome. Where a block ends with an error, the file is not a
    bigWig.

    Args:
        path: the file to write.
        names: names of all chromosomes.
        lengths: bases of each.
    """

    def __init__(self, path: Path, names: Sequence[str], lengths: NDArray[np.int64]):
        self._file = path.open("wb")
        self._summaries = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        self._longest = int(lengths.max(initial=0))
        self._places = _Places()
        self._behind = (-1, 0)
        self._total = np.array([0, np.inf, -np.inf, 0, 0], dtype=np.float64)
        self._file.write(bytes(_HEADER.size + _LEVELS * _ZOOM_HEADER.size + _SUMMARY.size))
        self._tree = self._file.tell()
        _write_names(self._file, names, lengths)
        self._data = self._file.tell()
        self._file.write(bytes(8))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file, self._summaries:
            if kind is None:
                self._finish()

    def add(self, chrom: int, start: int, values: NDArray[np.float32]) -> None:
        """Add the values of a stretch, which lies behind all that were added before.

        Args:
            chrom: index of the chromosome.
            start: first base, 0-based.
            values: one a base, (n,); NaN where there is none.
        """
        assert (chrom, start) >= self._behind, "stretches come in order and do not overlap"
        self._behind = (chrom, start + len(values))
        known = np.concatenate(([False], ~np.isnan(values), [False]))
        edges = np.flatnonzero(known[1:] != known[:-1])
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            for at in range(first, end, SECTION):
                self._write_section(chrom, start + at, values[at : min(at + SECTION, end)])
        if len(edges):
            self._summarise(chrom, start, values)

    def _write_section(self, chrom: int, start: int, values: NDArray[np.float32]) -> None:
        end = start + len(values)
        head = _SECTION.pack(chrom, start, end, 1, 1, _FIXED_STEP, 0, len(values))
        packed = zlib.compress(head + values.astype("<f4").tobytes())
        self._places.add(chrom, start, end, self._file.tell(), len(packed))
        self._file.write(packed)

    def _summarise(self, chrom: int, start: int, values: NDArray[np.float32]) -> None:
        """Keep summaries of the finest zoom level, and the totals."""
        at = np.flatnonzero(~np.isnan(values))
        known = values[at].astype(np.float64)
        firsts = _firsts((start + at) // _FINEST)
        records = np.empty(len(firsts), dtype=_RECORD)
        lasts = np.append(firsts[1:], len(at)) - 1
        records["chrom"], records["start"] = chrom, start + at[firsts]
        records["end"], records["count"] = start + at[lasts] + 1, lasts + 1 - firsts
        records["least"] = np.minimum.reduceat(known, firsts)
        records["most"] = np.maximum.reduceat(known, firsts)
        records["sum"] = np.add.reduceat(known, firsts)
        records["squares"] = np.add.reduceat(known * known, firsts)
        self._summaries.write(records.tobytes())
        count, least, most, total, squares = self._total
        self._total[:] = (
            count + len(known),
            min(least, known.min()),
            max(most, known.max()),
            total + known.sum(),
            squares + known @ known,
        )

    def _finish(self) -> None:
        """Write the index, the zoom levels, and the header."""
        index = self._file.tell()
        _write_index(self._file, self._places, 1)
        zooms = self._write_zooms() if self._places else []
        self._file.write(struct.pack("<I", _MAGIC))
        self._file.seek(0)
        largest = max(_SECTION.size + 4 * SECTION, _ZOOM_SECTION * _RECORD.itemsize)
        summary = _HEADER.size + _LEVELS * _ZOOM_HEADER.size
        self._file.write(
            _HEADER.pack(
                _MAGIC, 4, len(zooms), self._tree, self._data, index, 0, 0, 0, summary, largest, 0
            )
        )
        for every, data, tree in zooms:
            self._file.write(_ZOOM_HEADER.pack(every, 0, data, tree))
        count, least, most, total, squares = self._total.tolist()
        if not self._places:
            least = most = 0.0
        self._file.seek(summary)
        self._file.write(_SUMMARY.pack(int(count), least, most, total, squares))
        self._file.seek(self._data)
        self._file.write(struct.pack("<Q", len(self._places)))

    def _write_zooms(self) -> list[tuple[int, int, int]]:
        """Write zoom levels until one summary holds a chromosome.

        Returns:
            Bases of a summary, and where the data and the index of the level are, of each.
        """
        zooms = []
        every, spool = _FINEST, self._summaries
        for _ in range(_LEVELS):
            zooms.append((every, *_write_zoom(self._file, spool)))
            if every >= self._longest:
                break
            every *= _COARSER
            coarser = tempfile.TemporaryFile(dir=Path(self._file.name).parent)  # noqa: SIM115
            for records in _read_back(spool):
                coarser.write(_coarsened(records, every).tobytes())
            spool.close()
            spool = coarser
        spool.close()
        return zooms


def _firsts(groups: NDArray[np.integer]) -> NDArray[np.intp]:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))


def _coarsened(records: NDArray[np.void], every: int) -> NDArray[np.void]:
    """Put summaries that lie in the same `every` bases together."""
    bins = (records["chrom"].astype(np.int64) << 32) + records["start"] // every
    firsts = _firsts(bins)
    out = records[firsts]
    out["end"] = records["end"][np.append(firsts[1:], len(records)) - 1]
    for name, join in (
        ("count", np.add), ("sum", np.add), ("squares", np.add),
        ("least", np.minimum), ("most", np.maximum),
    ):  # fmt: skip
        out[name] = join.reduceat(records[name], firsts)
    return out


def _read_back(spool: IO[bytes]) -> Iterator[NDArray[np.void]]:
    """Summaries from the start of a temporary file."""
    spool.seek(0)
    while block := spool.read(_AT_ONCE * _RECORD.itemsize):
        yield np.frombuffer(block, dtype=_RECORD)


def _write_zoom(file: IO[bytes], spool: IO[bytes]) -> tuple[int, int]:
    """Write the summaries of a zoom level; returns where its data and its index are."""
    data = file.tell()
    file.write(bytes(4))
    places, count = _Places(), 0
    for records in _read_back(spool):
        count += len(records)
        for at in range(0, len(records), _ZOOM_SECTION):
            part = records[at : at + _ZOOM_SECTION]
            for one in _by_chrom(part):
                packed = zlib.compress(one.tobytes())
                chrom, start, end = (int(one[i][name]) for i, name in _EXTENT)
                places.add(chrom, start, end, file.tell(), len(packed))
                file.write(packed)
    index = file.tell()
    _write_index(file, places, _ZOOM_SECTION)
    end = file.tell()
    file.seek(data)
    file.write(struct.pack("<I", count))
    file.seek(end)
    return data, index


def _by_chrom(records: NDArray[np.void]) -> list[NDArray[np.void]]:
    """Cut summaries where the chromosome changes."""
    return np.split(records, _firsts(records["chrom"])[1:])


def _write_names(file: IO[bytes], names: Sequence[str], lengths: NDArray[np.int64]) -> None:
    """Write the tree of chromosome names: sorted as bytes, with their index and length."""
    keys = np.array([name.encode() for name in names], dtype=np.bytes_)
    width = max(keys.dtype.itemsize, 1)
    order = np.argsort(keys, kind="stable")
    leaf = np.dtype([("key", f"S{width}"), ("chrom", "<u4"), ("length", "<u4")])
    inner = np.dtype([("key", f"S{width}"), ("offset", "<u8")])
    items = np.zeros(len(names), dtype=leaf)
    items["key"], items["chrom"], items["length"] = keys[order], order, lengths[order]
    node = min(_NODE, max(len(names), 2))
    file.write(struct.pack("<IIIIQQ", _TREE_MAGIC, node, width, 8, len(names), 0))

    def above(below: NDArray[np.void]) -> NDArray[np.void]:
        out = np.zeros(-(-len(below) // node), dtype=inner)
        out["key"] = below["key"][::node]
        return out

    _write_tree(file, items, node, above)


def _write_index(file: IO[bytes], places: _Places, slot: int) -> None:
    """Write the tree by which the sections of a stretch are found."""
    items = places.leaves()
    reach = [0, 0, 0, 0]
    if len(items):
        reach = [int(items[i][name]) for i, name in (*_EXTENT[:2], (-1, "last"), _EXTENT[2])]
    head = (_INDEX_MAGIC, _NODE, len(items), *reach, file.tell(), slot, 0)
    file.write(struct.pack("<IIQIIIIQII", *head))

    def above(below: NDArray[np.void]) -> NDArray[np.void]:
        firsts = np.arange(0, len(below), _NODE)
        lasts = np.append(firsts[1:], len(below)) - 1
        out = np.zeros(len(firsts), dtype=_INNER)
        out["chrom"], out["start"] = below["chrom"][firsts], below["start"][firsts]
        out["last"], out["end"] = below["last"][lasts], below["end"][lasts]
        return out

    _write_tree(file, items, _NODE, above)


def _write_tree(
    file: IO[bytes],
    items: NDArray[np.void],
    node: int,
    above: Callable[[NDArray[np.void]], NDArray[np.void]],
) -> None:
    """Write a tree, the root first and the leaves last, at the end of a file.

    Args:
        file: the file.
        items: entries of the leaves, in order.
        node: entries of a node; nodes with fewer are filled up with zeros.
        above: gives the entries that lead to the nodes of a level, from the entries of that
            level; their offsets are filled in here.
    """
    levels = [_nodes(items, node, leaf=1)]
    while len(levels[0]) > 1:
        items = above(items)
        levels.insert(0, _nodes(items, node, leaf=0))
    at = file.tell()
    for upper, lower in pairwise(levels):
        at += upper.nbytes
        offsets = upper["items"]["offset"].reshape(-1)
        offsets[: len(lower)] = at + np.arange(len(lower)) * lower.dtype.itemsize
        upper["items"]["offset"] = offsets.reshape(upper["items"].shape)
    for level in levels:
        file.write(level.tobytes())


def _nodes(items: NDArray[np.void], node: int, *, leaf: int) -> NDArray[np.void]:
    """Entries of one level, as nodes."""
    counts = [min(node, len(items) - at) for at in range(0, max(len(items), 1), node)]
    kind = [("leaf", "u1"), ("reserved", "u1"), ("count", "<u2"), ("items", items.dtype, (node,))]
    out = np.zeros(len(counts), dtype=np.dtype(kind))
    out["leaf"], out["count"] = leaf, counts
    filled = np.zeros(len(counts) * node, dtype=items.dtype)
    filled[: len(items)] = items
    out["items"] = filled.reshape(-1, node)
    return out
