"""What a network gives for rows of an input: one vector a row, or one a position.

Short rows go through the network whole, batched with others of about their length. Long ones go
through it in exact tiles (`tiles.py`). Neither the batch nor the tiles change a result beyond
rounding, and no row is ever cut short. A network that sees the whole sequence reads every row
whole, unless windows are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.errors import InputError
from helicon.forward.memory import check_fits, letters_at_once
from helicon.forward.network import Network
from helicon.forward.pooling import PoolingInPieces, State
from helicon.forward.tiles import Tiling, over_tiles
from helicon.inference.jobs.inputs import Part

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Passes:
    """How rows go through a network.

    Attributes:
        network: the network.
        layer: whose features are taken; `None` for the last.
        both_strands: average over the two strands.
        window: letters of a window, see `Tiling.of`.
        overlap: of windows of a network that sees the whole sequence.
        cls: whether what is pooled are CLS tokens, which stand behind whole rows alone.
    """

    network: Network
    layer: int | None = None
    both_strands: bool = False
    window: int | None = None
    overlap: int | None = None
    cls: bool = False

    @property
    def cuts(self) -> bool:
        """Whether long rows go through in tiles."""
        return not self.cls and (self.network.halo is not None or self.window is not None)

    def check(self, longest: int, *, context: bool) -> None:
        """Refuse options that do not fit the network, or rows too long for it, before the start.

        Args:
            longest: letters of the longest row.
            context: whether rows are seen in their context.

        Raises:
            InputError: says what does not fit.
        """
        self.network.check_layer(self.layer)
        if self.both_strands and not self.network.alphabet.complements:
            raise InputError("both_strands: this model does not read DNA; leave it out")
        if self.cls and (context or self.window is not None or self.overlap is not None):
            raise InputError(
                "pool: CLS tokens stand behind whole sequences; leave out context, window and "
                "overlap, or pool positions (mean, max)"
            )
        if self.cls:
            check_fits(self.network, longest, whole=True)
        elif self.cuts:
            Tiling.of(self.network, longest, window=self.window, overlap=self.overlap)
        elif self.overlap is not None:
            raise InputError("overlap: is that of windows; give a window too")
        elif context:
            raise InputError(
                "context: this model sees the whole sequence; give a window to read the genome in"
            )
        else:
            check_fits(self.network, longest)

    def pooled(self, part: Part, pooling: PoolingInPieces) -> Values:
        """Pooled features of every row, (n, D), float32."""
        strands = [self._pooled(p, pooling) for p in self._strands(part)]
        return _mean(strands)

    def states(self, part: Part, pooling: PoolingInPieces) -> State:
        """What pooled features of long rows, or of pieces of rows, are made of: (n, strands, S)."""
        return torch.stack([self._states(p, pooling) for p in self._strands(part)], dim=1)

    def headed(self, part: Part, pooling: PoolingInPieces) -> Values:
        """Outputs of a sequence head for every row, (n, K), float32: `pooling` is the head's."""
        return _mean([self._headed(p, pooling) for p in self._strands(part)])

    def features(self, part: Part) -> Values:
        """Features at every wanted position, row after row, positions ascending: (letters, D)."""
        return _mean([self._everywhere(p, outputs=False) for p in self._strands(part)])

    def outputs(self, part: Part) -> Values:
        """Outputs of a token head at every wanted position, as `features`: (letters, K).

        Logits of classes up to a constant at each position; logits of labels; values. What is said
        of rows that are read backward is turned to what it means forward (`Network.opposite`).
        """
        return _mean([self._everywhere(p, outputs=True) for p in self._strands(part)])

    def _strands(self, part: Part) -> list[Part]:
        return [part, part.turned()] if self.both_strands else [part]

    def _tiling(self, part: Part, rows: NDArray[np.integer]) -> Tiling:
        longest = int(part.lengths[rows].max())
        return Tiling.of(self.network, longest, window=self.window, overlap=self.overlap)

    def _split(self, part: Part) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows that go through whole, and rows that go through in tiles.

        A row that fits in a tile's window takes no more memory whole.
        """
        tiled = ~part.whole
        longest = int(part.lengths.max(initial=0))
        limit = letters_at_once(self.network) if self.window is None else self.window
        if self.cuts and longest > limit:
            if self.window is None:
                limit = max(limit, self._tiling(part, np.arange(len(part))).width)
            tiled |= part.lengths > limit
        return np.flatnonzero(~tiled), np.flatnonzero(tiled)

    def _batches(
        self, part: Part, rows: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], Tensor, NDArray[np.bool_] | None]]:
        """Whole rows, longest first: which, their features (B, L, D), and the mask.

        Of CLS tokens the features (B, K, D), all of which count.
        """
        letters = letters_at_once(self.network)
        order = rows[np.argsort(-part.lengths[rows], kind="stable")]
        at = 0
        while at < len(order):
            count = max(1, letters // int(part.lengths[order[at]]))
            chosen = order[at : at + count]
            ids, mask = part.gather(chosen)
            shown = None if mask.all() else mask
            if self.cls:
                yield chosen, self.network.cls_features(ids, shown, layer=self.layer), None
            else:
                yield chosen, self.network.features(ids, shown, layer=self.layer), shown
            at += count

    def _pooled(self, part: Part, pooling: PoolingInPieces) -> Values:
        short, long = self._split(part)
        out = np.empty((len(part), self.network.d_model), dtype=np.float32)
        with torch.no_grad():
            for rows, features, mask in self._batches(part, short):
                out[rows] = pooling.module(features, self._shown(mask)).float().cpu().numpy()
        if len(long):
            out[long] = pooling.finished(self._states(part, pooling, long)).numpy()
        return out

    def _headed(self, part: Part, pooling: PoolingInPieces) -> Values:
        short, long = self._split(part)
        out = np.empty((len(part), len(self.network.labels)), dtype=np.float32)
        for rows, features, mask in self._batches(part, short):
            out[rows] = self.network.head(features, mask).cpu().numpy()
        if len(long):
            pooled = pooling.finished(self._states(part, pooling, long))
            with torch.no_grad():
                given = pooled.float().to(self.network.device)
                out[long] = self.network.model.classifier.layers(given).float().cpu().numpy()
        return out

    def _states(
        self, part: Part, pooling: PoolingInPieces, rows: NDArray[np.intp] | None = None
    ) -> State:
        """States (n, S) of rows that go through in tiles."""
        rows = np.arange(len(part)) if rows is None else rows
        found: list[State | None] = [None] * len(rows)

        def work(ids: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Tensor:
            return self.network.features(ids, mask, layer=self.layer)

        stretches = part.stretches().take(rows)
        for tile in over_tiles(part.sequences, stretches, self._tiling(part, rows), work):
            state, before = pooling.state(tile.values).cpu(), found[tile.row]
            found[tile.row] = state if before is None else pooling.merged(before, state)
        return torch.stack([state for state in found if state is not None])

    def _everywhere(self, part: Part, *, outputs: bool) -> Values:
        """Values of one strand, positions ascending."""
        ends = np.cumsum(part.lengths)
        starts = ends - part.lengths
        width = len(self.network.labels) if outputs else self.network.d_model
        out = np.empty((int(ends[-1]), width), dtype=np.float32)

        def put(row: int, first: int, values: Tensor) -> None:
            """Write values (n, K) from the `first` wanted position on, in reading order."""
            found, count = values.cpu().numpy(), len(values)
            if part.backward[row]:
                at = ends[row] - first - count
                found = found[::-1]
                out[at : at + count] = found[:, self.network.opposite] if outputs else found
            else:
                out[starts[row] + first : starts[row] + first + count] = found

        def work(ids: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Tensor:
            features = self.network.features(ids, mask, layer=self.layer)
            return self.network.outputs(features, mask) if outputs else features

        short, long = self._split(part)
        for rows, features, mask in self._batches(part, short):
            values = (self.network.outputs(features, mask) if outputs else features).cpu()
            for i, row in enumerate(rows.tolist()):
                put(row, 0, values[i, : part.lengths[row]])
        if len(long):
            stretches = part.stretches().take(long)
            tiling = self._tiling(part, long)
            for tile in over_tiles(part.sequences, stretches, tiling, work):
                row = int(long[tile.row])
                put(row, tile.start - int(part.start[row]), tile.values)
        return out

    def _shown(self, mask: NDArray[np.bool_] | None) -> Tensor | None:
        return None if mask is None else torch.from_numpy(mask).to(self.network.device)


def _mean(strands: list[Values]) -> Values:
    return strands[0] if len(strands) == 1 else (strands[0] + strands[1]) * np.float32(0.5)
