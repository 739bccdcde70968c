"""A Transformer encoder of today's plain kind, the yardstick beside the convolutions.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, with the normalisation before each part
(Xiong et al., 2020) and rotary positions (Su et al., "RoFormer: Enhanced Transformer with Rotary
Position Embedding", 2021). A block computes

    q, k, v = Linear_{d -> 3d}(LayerNorm(x))       split among the heads
    x <- x + Linear(softmax(R(q) R(k)^T / sqrt(d_head)) v)
    x <- x + Linear_{4d -> d}(GELU(Linear_{d -> 4d}(LayerNorm(x))))

R turns pairs of channels by an angle that grows with the position, so that the product of a query
and a key depends on their distance alone. Positions are counted from a sequence's first letter,
wherever padding puts it; padding is never attended to. A last LayerNorm ends the network.

Every position sees the whole sequence: work grows with the square of the length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helicon.errors import InputError
from helicon.models.parts.backbone import Backbone, Features, Mask, Tokens, keep, one_hot

#: Base of the rotation's wavelengths, as published.
ROTARY_BASE = 10_000.0
#: Width of a feed-forward layer over `d_model`.
FEED_FORWARD = 4

Heads = Float[Tensor, "batch heads length d_head"]
#: Cosine and sine of the angle of every pair of channels, by position.
Angles = tuple[Float[Tensor, "rows 1 length pairs"], Float[Tensor, "rows 1 length pairs"]]


@dataclass(frozen=True)
class TransformerConfig:
    """Everything that determines a Transformer network.

    Attributes:
        alphabet: what it reads, `dna` or `protein`.
        d_model: channels of the residual stream.
        blocks: blocks of attention and feed-forward layer.
        heads: attention heads; each has `d_model / heads` channels, an even number.
        dropout: probability, on what each half of a block adds.
    """

    alphabet: Literal["dna", "protein"] = "dna"
    d_model: int = 192
    blocks: int = 4
    heads: int = 6
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("d_model", "blocks", "heads"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"Transformer: {name} must be at least 1, not {getattr(self, name)}"
                )
        if self.d_model % (2 * self.heads):
            raise InputError(
                f"Transformer: d_model must be an even number of channels a head: {self.d_model} "
                f"is no multiple of {2 * self.heads}"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"Transformer: dropout must be in [0, 1), not {self.dropout}")


class Block(nn.Module):
    """Attention and a feed-forward layer."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        d = config.d_model
        self.heads = config.heads
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d),
            nn.Linear(d, FEED_FORWARD * d),
            nn.GELU(),
            nn.Linear(FEED_FORWARD * d, d),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Features, angles: Angles, mask: Mask | None) -> Features:
        """Update the residual stream (B, L, D)."""
        x = x + self.dropout(self._attention(self.norm(x), angles, mask))
        return x + self.dropout(self.feed_forward(x))

    def _attention(self, x: Features, angles: Angles, mask: Mask | None) -> Features:
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = turned(q, angles), turned(k, angles)
        real = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=real)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class Transformer(Backbone):
    """The Transformer backbone."""

    architecture: ClassVar[str] = "transformer"

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(self.alphabet.size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.d_model)

    @property
    def d_model(self) -> int:
        """Channels of the output."""
        return self.config.d_model

    @property
    def receptive_field(self) -> None:
        """See `Backbone`: every position sees all."""
        return None

    @property
    def layers(self) -> int:
        """See `Backbone`. A layer is a block; the last normalisation comes after them all."""
        return len(self.blocks)

    def forward(
        self,
        x: Tokens,
        mask: Mask | None = None,
        layer: int | None = None,
        layers: list[Features] | None = None,
    ) -> Features:
        """See `Backbone`."""
        stream = self._embed(x)
        angles = rotations(x, mask, self.config.d_model // self.config.heads)
        keep(layers, stream)
        for block in self.blocks[:layer]:
            stream = block(stream, angles, mask)
            keep(layers, stream)
        return stream if layer is not None else self.norm(stream)

    def _embed(self, x: Tokens) -> Features:
        rows = one_hot(x, self.alphabet.size, self.embedding.weight.dtype)
        return self.embedding(rows).to(rows.dtype)  # the stream stays float32


def rotations(x: Tokens, mask: Mask | None, d_head: int) -> Angles:
    """Cosine and sine of position * base^(-2 i / d_head), for the pair i of channels, in float32.

    Positions are counted from the first real one of each sequence: where padding stands changes
    not even a rounding.
    """
    position = torch.arange(x.shape[1], device=x.device)[None]
    if mask is not None:
        position = position - mask.int().argmax(1, keepdim=True)
    pair = torch.arange(0, d_head, 2, device=x.device, dtype=torch.float32)
    angle = position[:, None, :, None] * ROTARY_BASE ** (-pair / d_head)
    return angle.cos(), angle.sin()


def turned(x: Heads, angles: Angles) -> Heads:
    """Queries or keys with the channels (i, i + d_head / 2) turned as a pair, in float32."""
    cos, sin = angles
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
