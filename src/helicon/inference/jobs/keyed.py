"""Tables whose rows say what they belong to, and the two kinds of file that hold vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from helicon.errors import InputError
from helicon.files import write_aside
from helicon.forward.network import Network
from helicon.inference.jobs.engine import Done, write_parquet
from helicon.inference.jobs.inputs import Input, Part
from helicon.metrics.genes import GeneMeasures

#: Type of the numbers of an embedding.
Number = Literal["float32", "float16"]
#: Letters, and rows, of a shard: seconds of work on a CPU, and some megabytes of result.
LETTERS, ROWS = 1_000_000, 20_000
#: The same where every position has a result: its letters, and the numbers of all.
POSITIONS, NUMBERS = 200_000, 2**23

#: How positions count: of DNA, and of what has one strand.
COORDINATES, ONE_STRAND = "0-based, half-open, on the forward strand", "0-based"


@dataclass(frozen=True)
class Outcome:
    """What `embed` or `predict` did.

    Attributes:
        out: the file.
        sequences: sequences or regions in it.
        skipped: records of the input that were left out.
        done: shards, time and memory.
        scores: of the features found, against an annotation.
    """

    out: Path
    sequences: int
    skipped: int
    done: Done
    scores: GeneMeasures | None = None

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        left = f", {self.skipped:,} left out" if self.skipped else ""
        lines = [f"{self.sequences:,} sequences{left}", self.done.summary]
        return "\n".join([*lines, *([] if self.scores is None else [self.scores.summary])])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        said: dict[str, Any] = {"sequences": self.sequences, "skipped": self.skipped}
        if self.scores is not None:
            said["scores"] = self.scores.as_dict()
        return said | asdict(self.done) | {"out": str(self.out)}


def said_of(network: Network, model: str | Path, source: Input, verb: str) -> dict[str, str]:
    """What every output says of its making."""
    files: dict[str, str] = {}
    if source.store is not None:
        files = {"data": str(source.store.path), "data_sha256": source.store.sha256}
    if source.genome is not None:
        files = {"data": str(source.genome.path), "data_sha256": source.genome.sha256}
    return {
        "verb": verb,
        "model": str(model),
        "model_sha256": network.digest,
        "alphabet": network.alphabet.name,
        "precision": network.precision,
        "helicon": version("helicon"),
        "coordinates": COORDINATES if network.alphabet.complements else ONE_STRAND,
        **files,
    }


def letters_each(numbers: int | None) -> int:
    """Letters of a shard; `numbers` are those of one position, `None` for one vector a row."""
    return LETTERS if numbers is None else max(1024, min(POSITIONS, NUMBERS // numbers))


def every_position(part: Part) -> pa.Table:
    """The keys of every wanted position of every row, and its `position`."""
    rows = np.repeat(np.arange(len(part)), part.lengths)
    first = np.repeat(part.origin - np.cumsum(part.lengths) + part.lengths, part.lengths)
    return part.keys.take(rows).append_column("position", pa.array(first + np.arange(len(rows))))


def vectors(values: NDArray[Any], number: str = "float32") -> pa.FixedSizeListArray:
    """Rows of (n, D) as a column of lists.

    Raises:
        InputError: a number is too large for float16.
    """
    narrow = values.astype(number)
    if number == "float16" and np.isinf(narrow).any():
        raise InputError("dtype: a feature is too large for float16; choose float32")
    return pa.FixedSizeListArray.from_arrays(pa.array(narrow.ravel()), values.shape[1])


def vector_type(width: int, number: str) -> pa.DataType:
    """Type of `vectors`."""
    return pa.list_(pa.float16() if number == "float16" else pa.float32(), width)


def write_matrix(
    tables: Iterator[pa.Table], aside: Path, out: Path, schema: pa.Schema, said: dict[str, str]
) -> None:
    """Write the embeddings of tables as a `.npy` matrix, and their keys as Parquet beside it.

    Args:
        tables: keys, and a column `embedding` behind them.
        aside: where to write the matrix.
        out: where it will stand; the keys go beside it.
        schema: of the tables.
        said: metadata of the keys.
    """
    kind = schema.field("embedding").type
    width, number = kind.list_size, np.dtype(kind.value_type.to_pandas_dtype())
    keys = schema.remove(schema.get_field_index("embedding"))
    with aside.open("wb") as matrix, write_aside(keys_of(out)) as rows:
        # The number of rows is known at the end; a header of any number has the same length.
        _write_header(matrix, number, width, 10**18)

        def written() -> Iterator[pa.Table]:
            for table in tables:
                for chunk in table["embedding"].chunks:
                    matrix.write(chunk.flatten().to_numpy(zero_copy_only=False).data)
                yield table.drop_columns("embedding")

        count = write_parquet(written(), rows, keys, said)
        matrix.seek(0)
        _write_header(matrix, number, width, count)


def _write_header(handle: Any, number: np.dtype, width: int, rows: int) -> None:
    said = f"{{'descr': '{number.str}', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    handle.write(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little"))
    handle.write(said.ljust(117).encode() + b"\n")


def keys_of(out: Path) -> Path:
    """Where the keys of a matrix are: `vectors.npy` has `vectors.rows.parquet`."""
    return out.with_suffix(".rows.parquet")
