"""Splits of proteins by cluster, so that near-duplicates never stand on two sides.

Clusters come from a table (`read_clusters`), from the headers of a FASTA file (`header_clusters`),
or are found here (`similar_clusters`): two sequences belong together if they share more than a
stated part of their k-mers, and so do all that hang together by such pairs.
"""

from __future__ import annotations

import hashlib
import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from helicon.alphabet import SOFT_BIT
from helicon.data.genome.fasta import Header, stream_fasta
from helicon.data.reading.compressed import open_bytes
from helicon.data.reading.hashing import Hashes, mix
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError
from helicon.files import existing_file

Whole = NDArray[np.int64]
#: Where clusters come from if no file names them.
ClusterBy = Literal["kmers", "header", "none"]
#: The parts of a split.
Part = Literal["train", "validation", "test"]

#: Length of the k-mers that near-duplicates share, and the least share of them.
K, SHARE = 6, 0.05
#: So many k-mers must be shared, unless the shorter sequence has fewer.
_LEAST = 3
#: K-mers that are compared at most; of a larger file, those with the lowest hashes.
_COMPARED = 1 << 24
#: Sequences with the same k-mer are compared with so many next in length.
_NEIGHBOURS = 8
#: Letters that are looked at at a time.
_CHUNK = 1 << 22
_BITS = 5  # of a letter
_IN_HEADER = re.compile(r"\bcluster=(\S+)")


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which sequences belong together.

    Attributes:
        ids: cluster of every sequence, from 0, shape (n,).
        found_by: where they come from, in words.
    """

    ids: Whole
    found_by: str

    @property
    def count(self) -> int:
        """Number of clusters."""
        return int(self.ids.max()) + 1

    @classmethod
    def of(cls, labels: NDArray, found_by: str) -> Clusters:
        """Number clusters by any labels of theirs, in order."""
        return cls(np.unique(labels, return_inverse=True)[1].astype(np.int64), found_by)


def find_clusters(
    store: SequenceStore, path: str | Path | None = None, by: ClusterBy = "kmers"
) -> Clusters:
    """Clusters of the sequences of a store.

    Args:
        store: the sequences.
        path: table of clusters; see `read_clusters`.
        by: where they come from without one: shared k-mers, `cluster=` in the headers of the FASTA
            file, or every sequence is a cluster (for sets of representatives, such as UniRef50).

    Raises:
        InputError: see `read_clusters` and `header_clusters`.
    """
    if path is not None:
        return read_clusters(path, store)
    if by == "header":
        return header_clusters(store)
    if by == "none":
        return Clusters(np.arange(len(store)), "every sequence is one")
    assert by in get_args(ClusterBy)
    return similar_clusters(store)


# ---------------------------------------------------------------- from the user


def read_clusters(path: str | Path, store: SequenceStore) -> Clusters:
    """Read a table of two columns with a tab between, without a header line, plain or gzip.

    One column names every sequence of the store once, the other one its cluster: `name, cluster`,
    or `representative, member` as MMseqs2 writes it. Lines about other sequences do not matter.

    Args:
        path: the table.
        store: the sequences.

    Raises:
        InputError: the file has not two columns; neither column names all sequences; or a sequence
            has two clusters.
    """
    path = existing_file(path, "table of clusters")
    with open_bytes(path, "table of clusters") as handle:
        text = handle.read()
    try:
        table = pl.read_csv(
            io.BytesIO(text),
            separator="\t",
            has_header=False,
            infer_schema=False,
            quote_char=None,
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is no table of two columns with a tab between ({reason})") from (
            error
        )
    if table.width != 2:
        raise InputError(
            f"{path}: has {table.width} columns where two with a tab between are wanted: the name "
            "of a sequence and its cluster"
        )
    names = _names(store).to_frame("name").with_row_index("row")
    reads = [_joined(names, table, column) for column in (0, 1)]
    missing = [int(read["cluster"].null_count()) for read in reads]
    read = reads[int(np.argmin(missing))]
    if min(missing):
        lost = read.filter(pl.col("cluster").is_null())["name"][0]
        raise InputError(
            f"{path}: names no cluster of {lost!r} in {store.path}"
            f"{f' and {min(missing) - 1:,} others' if min(missing) > 1 else ''}; add the lines"
        )
    if len(read) > len(names):
        twice = read.filter(pl.col("row").is_duplicated())["name"][0]
        raise InputError(f"{path}: names two clusters of {twice!r}; keep one line of it")
    labels = read.sort("row")["cluster"].rank("dense").to_numpy()
    return Clusters.of(labels, f"table {path.name}")


def _joined(names: pl.DataFrame, table: pl.DataFrame, column: int) -> pl.DataFrame:
    """The sequences with their clusters, `column` being the one that names sequences."""
    key, value = table.columns[column], table.columns[1 - column]
    renamed = table.select(pl.col(key).alias("name"), pl.col(value).alias("cluster")).unique()
    return names.join(renamed, on="name", how="left")


def _names(store: SequenceStore) -> pl.Series:
    """All names of a store, without a Python object for each."""
    offsets = np.ascontiguousarray(store.name_offsets)
    text = np.ascontiguousarray(store.name_bytes)
    packed = (pa.py_buffer(offsets), pa.py_buffer(text))
    return pl.Series(pa.LargeStringArray.from_buffers(len(store), *packed))


def header_clusters(store: SequenceStore) -> Clusters:
    """Clusters as the headers of a FASTA file say them: `>name cluster=C12 and more`.

    Raises:
        InputError: the store comes from no FASTA file, or a header does not say it.
    """
    hashes = array("q")
    for header in _headers(store):
        found = _IN_HEADER.search(header.description)
        if not found:
            raise InputError(
                f"{store.path}, line {header.line}, record {header.name!r}: does not say "
                "cluster=...; write it into every header, or give a table of clusters"
            )
        digest = hashlib.blake2b(found[1].encode(), digest_size=8).digest()
        hashes.append(int.from_bytes(digest, "little", signed=True))
    return Clusters.of(np.frombuffer(hashes, np.int64), "cluster= in the headers")


def _headers(store: SequenceStore) -> Iterator[Header]:
    last = None
    for header, _ in stream_fasta(store.path, store.alphabet, unique=False):
        if header is not last:
            yield header
        last = header


# ---------------------------------------------------------------- by shared k-mers


def similar_clusters(
    store: SequenceStore, *, k: int = K, share: float = SHARE, most: int = _COMPARED
) -> Clusters:
    """Find near-duplicates by the k-mers that they share.

    Every sequence gives its different k-mers of certain letters; of a file with more than `most`
    letters, those whose hash is low enough that about `most` remain. Two sequences are alike if
    they share at least `share` of what the poorer one gives, and three, or all it gives. Sequences
    with one k-mer in common are compared with the eight next in length among those that have it,
    and with the longest of them. Clusters are what hangs together by such pairs.

    What it does not find: where substitutions alone tell two sequences apart, a word of six letters
    survives with probability identity^6, 0.12 at 70 % and 0.05 at 60 %. Of such pairs of 120 to 600
    letters, all of 80 % identity are found, 99 % of 70 %, a third of 60 % and under 1 % of 50 %:
    remote homologues stay apart. Where an eighth of the k-mers is left these are 97 % of 80 % and
    80 % of 70 %; where a 32nd is left, 85 % of 90 % and half of 80 %: there, give clusters made by
    a tool for it. Sequences below k letters are together only if they are equal.

    Args:
        store: the sequences.
        k: letters of a k-mer, at most 6.
        share: least share.
        most: k-mers to compare.
    """
    low = min(1.0, most / max(store.total, 1))
    found = [_sketch(store, start, end, k, low) for start, end in _chunks(store.offsets)]
    words, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    sizes = np.bincount(rows, minlength=len(store))
    one, two = _alike(words, rows, sizes, store.lengths, share)
    equal = _equal(sequence_hashes(store))
    one, two = np.concatenate([one, equal[0]]), np.concatenate([two, equal[1]])
    roots = _components(len(store), one, two)
    return Clusters.of(roots, f"shared {k}-mers, at least {100 * share:g} %")


def _chunks(offsets: Whole) -> Iterator[tuple[int, int]]:
    """First and last sequence (excluded) of pieces of about `_CHUNK` letters, all non-empty."""
    start = 0
    while start < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[start] + _CHUNK, side="right")) - 1
        end = max(end, start + 1)
        yield start, end
        start = end


def _sketch(
    store: SequenceStore, start: int, end: int, k: int, low: float
) -> tuple[NDArray[np.uint32], Whole]:
    """Hashes of the different k-mers of some sequences, and the sequence of each."""
    offsets = store.offsets[start : end + 1] - store.offsets[start]
    letters = store.ids[store.offsets[start] : store.offsets[end]] & np.uint8(SOFT_BIT - 1)
    places = len(letters) - k + 1
    if places < 1:
        return np.empty(0, np.uint32), np.empty(0, np.int64)
    certain = store.alphabet.real_table()[letters]
    code, known = np.zeros(places, np.uint32), np.ones(places, dtype=bool)
    for shift in range(k):
        code = (code << np.uint32(_BITS)) | letters[shift : shift + places]
        known &= certain[shift : shift + places]
    row = np.repeat(np.arange(end - start), np.diff(offsets))
    known &= row[:places] == row[k - 1 :]
    code = _mix32(code[known])
    kept = code <= np.uint32(low * (2**32 - 1))
    pairs = row[:places][known][kept].astype(np.uint64) << np.uint64(32) | code[kept]
    pairs = np.unique(pairs)
    return pairs.astype(np.uint32), (pairs >> np.uint64(32)).astype(np.int64) + start


def _mix32(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Hash 32 bits to 32 bits, one to one (the finaliser of MurmurHash3)."""
    z = codes ^ (codes >> np.uint32(16))
    z *= np.uint32(0x85EBCA6B)
    z ^= z >> np.uint32(13)
    z *= np.uint32(0xC2B2AE35)
    return z ^ (z >> np.uint32(16))


def _alike(
    words: NDArray[np.uint32], rows: Whole, sizes: Whole, lengths: Whole, share: float
) -> tuple[Whole, Whole]:
    """Pairs of sequences that share enough."""
    rank = np.empty(len(lengths), dtype=np.uint64)  # by length, the longest first
    rank[np.argsort(-lengths, kind="stable")] = np.arange(len(lengths), dtype=np.uint64)
    items = np.sort(words.astype(np.uint64) << np.uint64(32) | rank[rows])
    words, ranks = (items >> np.uint64(32)).astype(np.uint32), items & np.uint64(2**32 - 1)
    first = np.flatnonzero(np.append(True, words[1:] != words[:-1]))
    first = np.repeat(first, np.diff(np.append(first, len(words))))  # of everyone's group
    pairs = []
    for step in range(1, _NEIGHBOURS + 1):
        same = np.flatnonzero(first[step:] == first[:-step])
        pairs.append(ranks[same] << np.uint64(32) | ranks[same + step])
    far = np.flatnonzero(np.arange(len(words)) - first > _NEIGHBOURS)
    pairs.append(ranks[first[far]] << np.uint64(32) | ranks[far])
    found, counts = np.unique(np.concatenate(pairs), return_counts=True)
    back = np.argsort(rank)
    one = back[(found >> np.uint64(32)).astype(np.int64)]
    two = back[(found & np.uint64(2**32 - 1)).astype(np.int64)]
    poorer = np.minimum(sizes[one], sizes[two])
    wanted = np.minimum(poorer, np.maximum(_LEAST, np.ceil(share * poorer)))
    return one[counts >= wanted], two[counts >= wanted]


def _equal(hashes: Hashes) -> tuple[Whole, Whole]:
    """Neighbours in the order of their hashes, where these are equal."""
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    return order[:-1][same], order[1:][same]


def _components(count: int, one: Whole, two: Whole) -> Whole:
    """The lowest member of what every node hangs together with, shape (count,)."""
    root = np.arange(count)
    while True:
        a, b = root[one], root[two]
        apart = a != b
        if not apart.any():
            return root
        np.minimum.at(root, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
        while (root[root] != root).any():
            root = root[root]


def sequence_hashes(store: SequenceStore) -> Hashes:
    """A hash of the letters of every sequence, whatever its name and place, shape (n,)."""
    out = np.empty(len(store), dtype=np.uint64)
    for start, end in _chunks(store.offsets):
        begin, stop = store.offsets[start], store.offsets[end]
        offsets = store.offsets[start:end] - begin
        letters = store.ids[begin:stop] & np.uint8(SOFT_BIT - 1)
        place = np.arange(stop - begin) - np.repeat(offsets, store.lengths[start:end])
        each = mix(place << _BITS | letters)
        out[start:end] = np.add.reduceat(each, offsets)
    return out


# ---------------------------------------------------------------- dealing


def split_clusters(
    store: SequenceStore,
    clusters: Clusters,
    *,
    validation: float = 0.05,
    test: float = 0.05,
) -> dict[Part, Whole]:
    """Deal whole clusters to parts.

    Clusters stand in an order that follows from their letters alone, whatever the order of the
    file and the seed of a run. The first of them are the test part, the next ones the validation
    part, up to the stated shares of all residues; the rest is the training part. A cluster that
    has more than half of the smaller share goes to training.

    Args:
        store: the sequences.
        clusters: which belong together.
        validation: share of the residues of the validation part, 0 for none.
        test: share of the test part, 0 for none.

    Returns:
        Rows of every part, ascending.

    Raises:
        InputError: no sequence is left to train on, or none for a part that is asked for.
    """
    residues = np.bincount(clusters.ids, store.lengths, clusters.count)
    place = np.full(clusters.count, 2**64 - 1, dtype=np.uint64)
    np.minimum.at(place, clusters.ids, sequence_hashes(store))
    asked: dict[Part, float] = {"test": test, "validation": validation}
    smallest = min((share for share in asked.values() if share), default=0.0)
    order = np.argsort(mix(place), kind="stable")
    order = order[residues[order] <= smallest * store.total / 2]
    middle = np.cumsum(residues[order]) - residues[order] / 2
    part_of = np.zeros(clusters.count, dtype=np.int8)
    begin = 0.0
    for number, share in enumerate(asked.values(), start=1):
        inside = (middle >= begin * store.total) & (middle < (begin + share) * store.total)
        part_of[order[inside]] = number
        begin += share
    rows = part_of[clusters.ids]
    parts = {part: np.flatnonzero(rows == i) for i, part in enumerate(("train", *asked))}
    for part, chosen in parts.items():
        if not len(chosen) and asked.get(part, 1.0):
            raise InputError(
                f"{store.path}: the clusters are too few for a {part} part, {clusters.count:,} "
                f"({clusters.found_by}); give other shares or clusters"
            )
    return parts
