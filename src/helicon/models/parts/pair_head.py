"""A head for pairs of positions: are two residues of a protein in contact?

The features of every position are narrowed to `width` numbers. A pair (i, j) starts from the two
rows laid side by side (outer concatenation) and a linear layer on them; how far apart the two
stand along the chain is added as a learned row. Residual blocks then look at neighbouring pairs:

    x <- x + DilatedConv_3x3(act(LayerNorm(x)))     zeros beyond the square, and at padding

with dilations 1, 2, 4, 8, 16, over and over. The logit of a pair is the mean of what the network
says of (i, j) and of (j, i): the order of a pair never matters.

Activations are channels-last, (batch, rows, columns, width). The normalisation is over the channels
of one pair, so nothing but the convolutions looks at other pairs: padding changes nothing, and a
large square is computed in tiles that give exactly what one pass would.

Memory: one activation takes 4 x `width` bytes a pair in float32, and a training step keeps three
for each block. With width 32 and ten blocks a step takes 5 to 7 KiB a pair: 0.45 GiB for a square
of 256 x 256 (twice that where rows and columns are different stretches, since both orders are
computed), 2.5 GiB for a protein of 700 residues at once. Without gradients tiles bound it, at about
0.6 GiB beside the map itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from helicon.models.parts.backbone import Features, Mask

#: Dilations of the blocks, over and over.
DILATIONS = (1, 2, 4, 8, 16)
#: Kinds of separation that are told apart: four for each doubling, up to about a thousand.
SEPARATIONS = 40
#: Rows and columns of a tile, without its halo.
TILE = 256

Narrow = Float[Tensor, "batch length width"]
Pairs = Float[Tensor, "batch rows columns width"]
PairMask = Bool[Tensor, "batch rows columns"]
Starts = Integer[Tensor, " batch"]


class Window(NamedTuple):
    """Rows of consecutive positions, one stretch for each protein of a batch.

    Attributes:
        features: narrowed features, (B, N, width).
        first: position of the first, (B,).
        mask: true at real positions, (B, N); `None` where all are.
    """

    features: Tensor
    first: Tensor
    mask: Tensor | None


class PairBlock(nn.Module):
    """One residual block over pairs."""

    def __init__(self, width: int, dilation: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Pairs, mask: PairMask | None) -> Pairs:
        """Update pairs (B, R, C, W)."""
        y = F.gelu(self.norm(x))
        if mask is not None:
            y = y * mask.unsqueeze(-1)
        # Seen as an image whose channels lie last: no copy on a CPU nor on a GPU.
        y = self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.dropout(y)


class PairHead(nn.Module):
    """One row of outputs a pair of positions.

    Args:
        d_model: channels of the features.
        outputs: numbers for each pair.
        width: channels of a pair.
        blocks: residual blocks.
        dropout: probability, on the narrowed features and on what a block adds.
    """

    def __init__(
        self,
        d_model: int,
        outputs: int = 1,
        *,
        width: int = 32,
        blocks: int = 10,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.narrow = nn.Linear(d_model, width)
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(2 * width, width)
        self.separation = nn.Embedding(SEPARATIONS, width)
        nn.init.zeros_(self.separation.weight)
        dilations = [DILATIONS[i % len(DILATIONS)] for i in range(blocks)]
        self.blocks = nn.ModuleList(PairBlock(width, dilation, dropout) for dilation in dilations)
        self.norm_out = nn.LayerNorm(width)
        self.out = nn.Linear(width, outputs)
        self.reach = sum(dilations)

    def forward(
        self, features: Features, mask: Mask | None = None
    ) -> Float[Tensor, "batch length length outputs"]:
        """Logits (B, L, L, outputs) of all pairs; those of padded positions have no meaning.

        Without gradients, squares of more than `TILE` positions are computed in tiles.
        """
        whole = self.whole(features, mask)
        batch, length = features.shape[:2]
        if torch.is_grad_enabled() or length <= TILE:
            return self.between(whole, whole)
        logits = None
        for row, column, tile in self.tiles(whole):
            if logits is None:
                logits = tile.new_empty(batch, length, length, tile.shape[-1])
            rows, columns = tile.shape[1:3]
            logits[:, row : row + rows, column : column + columns] = tile
            logits[:, column : column + columns, row : row + rows] = tile.transpose(1, 2)
        assert logits is not None
        return logits

    def whole(self, features: Features, mask: Mask | None = None) -> Window:
        """Narrowed features of all positions."""
        first = torch.zeros(len(features), dtype=torch.long, device=features.device)
        return Window(self.dropout(self.narrow(self.norm(features))), first, mask)

    def between(self, rows: Window, columns: Window) -> Float[Tensor, "batch rows columns outputs"]:
        """Logits of the pairs of two windows of equal batches, as if nothing lay beyond them.

        The same windows in the other order give the transposed logits.
        """
        one = self._directed(rows, columns)
        other = one if rows is columns else self._directed(columns, rows)
        return (one + other.transpose(1, 2)) * 0.5

    def tiles(self, whole: Window) -> Iterator[tuple[int, int, Tensor]]:
        """Logits of all pairs in tiles, which together are what one pass would give.

        A pair depends on pairs at most `reach` rows and columns away: a tile is computed with a
        halo as wide, which is thrown away.

        Yields:
            First row, first column, and logits (B, R, C, outputs), of the tiles on the diagonal
            and above it; those below it are their transposes.
        """
        length = whole.features.shape[1]
        starts = range(0, length, TILE)
        for row, column in combinations_with_replacement(starts, 2):
            low, high = max(0, row - self.reach), max(0, column - self.reach)
            rows = cut(whole, low, row + TILE + self.reach)
            columns = rows if row == column else cut(whole, high, column + TILE + self.reach)
            logits = self.between(rows, columns)
            yield row, column, logits[:, row - low :, column - high :][:, :TILE, :TILE]

    def _directed(self, rows: Window, columns: Window) -> Tensor:
        """Logits of pairs in which the first window comes first."""
        x = self._pairs(rows, columns)
        mask = None
        if rows.mask is not None and columns.mask is not None:
            mask = rows.mask.unsqueeze(2) & columns.mask.unsqueeze(1)
        for block in self.blocks:
            x = block(x, mask)
        # Not rounded to bfloat16: pairs are ranked, and ranks with many ties say little.
        device = "cpu" if x.is_meta else x.device.type  # `meta` computes nothing, nor casts
        with torch.autocast(device, enabled=False):
            return self.out(F.gelu(self.norm_out(x.to(self.out.weight.dtype))))

    def _pairs(self, rows: Window, columns: Window) -> Pairs:
        """What the blocks start from.

        A linear layer on two rows side by side is the sum of its two halves, each on one row: that
        takes one product a position, not one a pair.
        """
        first, second = self.join.weight.chunk(2, dim=1)
        left = F.linear(rows.features, first, self.join.bias).unsqueeze(2)
        right = F.linear(columns.features, second).unsqueeze(1)
        apart = (_positions(rows).unsqueeze(2) - _positions(columns).unsqueeze(1)).abs()
        return left + right + self.separation(separation_kind(apart)).to(left.dtype)


def cut(window: Window, start: int, end: int) -> Window:
    """The columns `start` to `end` of a window; what lies beyond its end is left out."""
    mask = None if window.mask is None else window.mask[:, start:end]
    return Window(window.features[:, start:end], window.first + start, mask)


def windows_at(whole: Window, starts: Starts, side: int) -> Window:
    """A window of `side` positions for each protein, from another start in each.

    Args:
        whole: of all positions.
        starts: first position of each, (B,); what lies beyond the sequence counts as padding.
        side: positions of each window.
    """
    length = whole.features.shape[1]
    at = starts.unsqueeze(1) + torch.arange(side, device=starts.device)
    inside = at < length
    at = at.clamp(max=length - 1)
    features = whole.features.gather(1, at.unsqueeze(-1).expand(-1, -1, whole.features.shape[-1]))
    mask = inside if whole.mask is None else inside & whole.mask.gather(1, at)
    return Window(features, starts, mask)


def separation_kind(apart: Tensor) -> Tensor:
    """Which kind of separation a number of residues is: 0 for 0, 4 for 1, four more a doubling."""
    kind = (4 * torch.log2(1.0 + apart) + 1e-3).floor().long()
    return kind.clamp(max=SEPARATIONS - 1)


def _positions(window: Window) -> Integer[Tensor, "batch length"]:
    count = window.features.shape[1]
    return window.first.unsqueeze(1) + torch.arange(count, device=window.first.device)
