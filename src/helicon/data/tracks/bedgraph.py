"""Writing bedGraph files, a stretch at a time."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray


class BedGraphWriter:
    """A bedGraph file in the making; a context manager.

    Neighbouring bases of equal value share a row.

    Args:
        path: the file to write.
        names: names of the chromosomes.
        compressed: whether to write gzip.
    """

    def __init__(self, path: Path, names: Sequence[str], *, compressed: bool = False):
        self.names = names
        self._raw = path.open("wb")
        packed = gzip.GzipFile("", "wb", fileobj=self._raw, mtime=0) if compressed else self._raw
        self._file = cast(IO[bytes], packed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._raw, self._file:
            pass

    def add(self, chrom: int, start: int, values: NDArray[np.float32]) -> None:
        """Add the values of a stretch; see `BigWigWriter.add`."""
        same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
        firsts = np.flatnonzero(np.append(True, ~same)) if len(values) else np.empty(0, np.intp)
        ends = np.append(firsts[1:], len(values))[: len(firsts)]
        found = values[firsts]
        rows = ~np.isnan(found)
        frame = pl.DataFrame(
            {
                "start": start + firsts[rows],
                "end": start + ends[rows],
                "value": found[rows],
            }
        )
        frame.select(pl.lit(self.names[chrom]).alias("chrom"), pl.all()).write_csv(
            self._file, include_header=False, separator="\t", quote_style="never"
        )
