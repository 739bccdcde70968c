"""Exact tiling: what a network gives for whole chromosomes, from windows of one size.

An output depends on the `halo` letters on either side, half the receptive field. A window that
holds a stretch and its halos therefore gives for the stretch what one pass over the chromosome
would. At the ends of a chromosome the network sees zeros beyond the last letter; windows near an
end are shifted so that they end where the chromosome does. Chromosomes shorter than a window are
padded and masked.

A network without a finite receptive field has no exact tiles. Its windows are cut with an explicit
overlap, of which half on either side is thrown away: the seam is where the next window begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import Ids
from helicon.data.genome.intervals import Intervals
from helicon.errors import InputError
from helicon.forward.memory import check_fits, letters_at_once
from helicon.forward.network import Network

Whole = NDArray[np.int64]
#: Per-position outputs of a batch of windows: token ids (B, W), mask (B, W) or none -> (B, W, K).
Work = Callable[[NDArray[np.uint8], NDArray[np.bool_] | None], Tensor]

#: A window is at least this many halos longer than its halos, so that little is computed twice.
HALOS_KEPT = 6
#: Letters of a window of a network that sees the whole sequence, and of its overlap.
WINDOW, OVERLAP = 8192, 2048


class Sequences(Protocol):
    """What windows are read from: a `Genome`, a `SequenceStore`, and what stands for one."""

    @property
    def lengths(self) -> Whole:
        """Letters of every sequence, shape (n,)."""

    def windows(
        self,
        chroms: Whole,
        starts: Whole,
        length: int,
        /,
        *,
        reverse: NDArray[np.bool_] | None = None,
    ) -> Ids:
        """Windows (n, length) of one length; see `helicon.data.genome.genome.Genome.windows`."""


@dataclass(frozen=True)
class Tiling:
    """How stretches are cut in tiles and read in windows.

    Attributes:
        halo: letters on either side of a tile that its window holds.
        size: letters of a tile, at most.
        cell: windows begin at multiples of it (`Backbone.cell`).
        batch: windows at once.
        padded: whether every window is laid around its tile, with padding where there is no
            sequence, as windows of training are; if not, it is shifted into its chromosome.
    """

    halo: int
    size: int
    cell: int = 1
    batch: int = 1
    padded: bool = False

    @property
    def width(self) -> int:
        """Letters of a window."""
        return self.size + 2 * self.halo + self.cell - 1

    @classmethod
    def of(
        cls,
        network: Network,
        longest: int,
        *,
        window: int | None = None,
        overlap: int | None = None,
    ) -> Tiling:
        """Choose the size of tiles.

        Args:
            network: what reads them.
            longest: letters of the longest stretch that will be cut.
            window: letters of a window; chosen for the device if not given.
            overlap: letters that successive windows share, for a network that sees the whole
                sequence; for others it follows from the receptive field.

        Raises:
            InputError: the window is too short, or does not fit in memory, or an overlap is given
                that would change nothing.
        """
        cell = network.model.backbone.cell
        letters = letters_at_once(network)
        if network.halo is None:
            halo = (OVERLAP if overlap is None else overlap) // 2
            room = (WINDOW if window is None else window) - 2 * halo
            need = "overlap: must be shorter than the window"
        else:
            if overlap is not None:
                raise InputError("overlap: follows from this model's receptive field; leave it out")
            halo = network.halo
            kept = max(letters - 2 * halo, HALOS_KEPT * halo, 256)
            room = kept if window is None else window - 2 * halo - cell + 1
            need = f"window: must be longer than {2 * halo + cell - 1} letters for this model"
        if room < 1:
            raise InputError(need)
        size = max(1, min(room, longest))
        width = size + 2 * halo + cell - 1
        check_fits(network, width)
        return cls(halo, size, cell, max(1, letters // width))

    def cut(self, stretches: Intervals) -> Tiles:
        """Cut stretches in tiles, in order."""
        counts = -(-stretches.lengths // self.size)
        row = np.repeat(np.arange(len(stretches)), counts)
        number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = stretches.start[row] + number * self.size
        end = np.minimum(start + self.size, stretches.end[row])
        return Tiles(stretches.chrom[row].astype(np.int64), start, end, row)

    def first(self, tiles: Tiles, length: Whole) -> Whole:
        """Where the windows of tiles begin in chromosomes of `length`."""
        if self.padded:
            return tiles.start - self.halo
        last = -(-(length - self.width) // self.cell) * self.cell
        return np.maximum(0, np.minimum(tiles.start - self.halo, last) // self.cell * self.cell)

    def turned(self, tiles: Tiles, length: Whole) -> Tiles:
        """The tiles counted from the other end of their chromosomes of `length`."""
        end = tiles.start + self.size if self.padded else tiles.end
        return Tiles(tiles.chrom, length - end, length - tiles.start, tiles.row)


@dataclass(frozen=True)
class Tiles:
    """Tiles in order; the letters of each are kept of what its window gives.

    Attributes:
        chrom: index of the chromosome, (n,).
        start: first letter, (n,), 0-based.
        end: behind the last letter, (n,).
        row: the stretch that each was cut from, (n,).
    """

    chrom: Whole
    start: Whole
    end: Whole
    row: Whole

    def __len__(self) -> int:
        return len(self.chrom)

    def take(self, rows: slice) -> Tiles:
        """Some of the tiles."""
        return Tiles(self.chrom[rows], self.start[rows], self.end[rows], self.row[rows])


@dataclass(frozen=True)
class TileValues:
    """What was computed for one tile.

    Attributes:
        row: the stretch that it belongs to.
        chrom: index of the chromosome.
        start: first letter.
        values: (letters, K).
    """

    row: int
    chrom: int
    start: int
    values: Tensor


def over_tiles(
    genome: Sequences,
    stretches: Intervals,
    tiling: Tiling,
    work: Work,
    *,
    opposite: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[TileValues]:
    """Compute something for every position of stretches of a genome.

    Args:
        genome: the sequences.
        stretches: where; each is cut by itself.
        tiling: how.
        work: gives values for every position of a batch of windows.
        opposite: turns values on the reverse strand (B, W, K) into the same on the forward strand,
            their order along the sequence apart; where given, the two strands are averaged.

    Yields:
        Values of tiles that follow one another and cover the stretches.
    """
    tiles = tiling.cut(stretches)
    for at in range(0, len(tiles), tiling.batch):
        part = tiles.take(slice(at, at + tiling.batch))
        first, values = _batch(genome, part, tiling, work, reverse=False)
        if opposite is not None:
            turned = tiling.turned(part, genome.lengths[part.chrom])
            backward, found = _batch(genome, turned, tiling, work, reverse=True)
            found = opposite(found)
        for i in range(len(part)):
            start, end = int(part.start[i]), int(part.end[i])
            kept = values[i, start - first[i] : end - first[i]]
            if opposite is not None:
                behind = int(turned.end[i] - backward[i])
                kept = (kept + found[i, behind - (end - start) : behind].flip(0)) * 0.5
            yield TileValues(int(part.row[i]), int(part.chrom[i]), start, kept)


def _batch(
    genome: Sequences, tiles: Tiles, tiling: Tiling, work: Work, *, reverse: bool
) -> tuple[Whole, Tensor]:
    """Values (B, W, K) of the windows of tiles on one strand, and where the windows begin.

    With `reverse`, tiles and windows are counted from the end of the chromosome.
    """
    length = genome.lengths[tiles.chrom]
    first = tiling.first(tiles, length)
    width = tiling.width if tiling.padded else min(tiling.width, int(length.max()))
    starts = length - first - width if reverse else first
    turned = np.full(len(tiles), reverse)
    ids = genome.windows(tiles.chrom, starts, width, reverse=turned)
    column = first[:, None] + np.arange(width)
    mask = (column >= 0) & (column < length[:, None])
    return first, work(ids, None if mask.all() else mask)


def outputs_over(
    network: Network,
    genome: Sequences,
    stretches: Intervals,
    *,
    what: Literal["outputs", "features"] = "outputs",
    layer: int | None = None,
    both_strands: bool = False,
    window: int | None = None,
    overlap: int | None = None,
) -> Iterator[TileValues]:
    """What a network gives for every position of stretches of a genome, ready to be written.

    For a finite receptive field, this is what one pass over each whole chromosome gives, up to
    float32 rounding.

    Args:
        network: with outputs at every position, unless features are asked for.
        genome: the sequences.
        stretches: where; 0-based, half-open.
        what: `outputs` (log-probabilities of classes or letters, logits of labels, values), or
            the backbone's `features`.
        layer: of the features; `None` for the last.
        both_strands: average what is given for the two strands (features as they are).
        window: letters of a window, see `Tiling.of`.
        overlap: of windows of a network that sees the whole sequence.

    Yields:
        Values of tiles that follow one another and cover the stretches.
    """
    longest = int(stretches.lengths.max(initial=1))
    tiling = Tiling.of(network, longest, window=window, overlap=overlap)

    def work(ids: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Tensor:
        features = network.features(ids, mask, layer=layer)
        return features if what == "features" else network.outputs(features, mask)

    columns = torch.from_numpy(network.opposite).to(network.device)

    def opposite(values: Tensor) -> Tensor:
        return values if what == "features" else values[..., columns]

    yield from over_tiles(
        genome, stretches, tiling, work, opposite=opposite if both_strands else None
    )
