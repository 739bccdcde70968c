"""ByteNet, the network of CARP: dilated residual convolutions over amino acids.

Yang, Fusi and Lu, "Convolutions are competitive with transformers for protein sequence
pretraining", Cell Systems 2024; the network after Kalchbrenner et al., "Neural Machine
Translation in Linear Time", 2016. A letter becomes a row of 8 numbers, which a linear layer widens
to `d_model`. A block with hidden width h and dilation r computes

    y = Linear_{d -> h}(act(LayerNorm(x)))
    y = DilatedConv_5(act(LayerNorm(y)))          zeros beyond the sequence, and at padding
    x <- x + Linear_{h -> d}(act(LayerNorm(y)))

with dilations 1, 2, 4, ..., `max_dilation`, over and over. A last LayerNorm ends the network; a
language model's head is one linear layer on it, not tied to the embedding. There is no positional
encoding, no symbol for start or end, and no limit of length.

Where the published code is peculiar, the defaults follow it, so that its weights load:

- the embedding's row that is zero and never trained is that of the mask symbol, not of padding
  (`blank="pad"` is the other way). Padding is harmless because every convolution's input is zeroed
  there.
- its representations are the sum of blocks *before* the last normalisation: that is what `layer`
  gives here, from 0 (the embedding) to the number of blocks. Without `layer` the output is the
  normalised one, which heads read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.models.bytenet.substitutions import ByteNetSubstitutions
from helicon.models.parts.backbone import Backbone, Features, Mask, Tokens, keep
from helicon.models.parts.layers import Conv, Pointwise, Sequence
from helicon.models.parts.substitutions import Substitutions

#: Activation functions by name; GELU is the exact one, as in all published models.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


@dataclass(frozen=True)
class ByteNetConfig:
    """Everything that determines a ByteNet network.

    Attributes:
        d_model: channels of the residual stream.
        blocks: residual blocks.
        slim: whether a block is half as wide inside (h = d_model / 2); else h = d_model.
        kernel: taps of a block's convolution (odd).
        max_dilation: largest dilation, a power of two; the dilations double up to it, again and
            again.
        d_embedding: numbers that stand for a letter, before they are widened.
        activation: `gelu` or `relu`.
        dropout: probability, on what a block adds.
        blank: the symbol whose embedding is zero and never trained.
    """

    alphabet: ClassVar[str] = PROTEIN.name

    d_model: int = 1280
    blocks: int = 56
    slim: bool = False
    kernel: int = 5
    max_dilation: int = 128
    d_embedding: int = 8
    activation: Literal["gelu", "relu"] = "gelu"
    dropout: float = 0.0
    blank: Literal["mask", "pad"] = "mask"

    def __post_init__(self) -> None:
        for name in ("d_model", "blocks", "kernel", "max_dilation", "d_embedding"):
            if getattr(self, name) < 1:
                raise InputError(f"ByteNet: {name} must be at least 1, not {getattr(self, name)}")
        if self.kernel % 2 == 0:
            raise InputError(f"ByteNet: kernel must be odd, not {self.kernel}")
        if self.max_dilation & (self.max_dilation - 1):
            raise InputError(
                f"ByteNet: max_dilation must be a power of two, not {self.max_dilation}"
            )
        if self.slim and self.d_model % 2:
            raise InputError(f"ByteNet: slim halves d_model, which {self.d_model} does not allow")
        if not 0 <= self.dropout < 1:
            raise InputError(f"ByteNet: dropout must be in [0, 1), not {self.dropout}")

    @property
    def hidden(self) -> int:
        """Channels inside a block."""
        return self.d_model // 2 if self.slim else self.d_model

    @property
    def dilations(self) -> list[int]:
        """Dilation of every block, in order."""
        period = int(math.log2(self.max_dilation)) + 1
        return [2 ** (i % period) for i in range(self.blocks)]


class Block(nn.Module):
    """One residual block."""

    def __init__(self, config: ByteNetConfig, dilation: int):
        super().__init__()
        d, h = config.d_model, config.hidden
        self.activation = ACTIVATIONS[config.activation]
        self.norm_in = nn.LayerNorm(d)
        self.narrow = Pointwise(d, h)
        self.norm = nn.LayerNorm(h)
        self.conv = Conv(h, h, config.kernel, dilation)
        self.norm_out = nn.LayerNorm(h)
        self.widen = Pointwise(h, d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Sequence, mask: Mask | None) -> Sequence:
        """Update the residual stream (B, L, D)."""
        y = self.before(x)
        if mask is not None:
            y = y * mask.unsqueeze(-1)
        y = self.after(self.conv(y))
        return x + (self.dropout(y) if self.dropout.p else y)

    def before(self, x: Sequence) -> Sequence:
        """The convolution's input (..., h), from the residual stream (..., D) at each position."""
        return self.activation(self.norm(self.narrow(self.activation(self.norm_in(x)))))

    def after(self, y: Sequence) -> Sequence:
        """What is added to the residual stream, from the convolution's output."""
        return self.widen(self.activation(self.norm_out(y)))


class ByteNet(Backbone):
    """The ByteNet backbone."""

    architecture: ClassVar[str] = "bytenet"

    def __init__(self, config: ByteNetConfig):
        super().__init__()
        self.config = config
        self.blank_id = PROTEIN.mask_id if config.blank == "mask" else PROTEIN.pad_id
        self.embedding = nn.Embedding(PROTEIN.size, config.d_embedding, padding_idx=self.blank_id)
        self.widen = Pointwise(config.d_embedding, config.d_model)
        self.blocks = nn.ModuleList(Block(config, dilation) for dilation in config.dilations)
        self.norm = nn.LayerNorm(config.d_model)

    @property
    def d_model(self) -> int:
        """Channels of the output."""
        return self.config.d_model

    @property
    def receptive_field(self) -> int:
        """See `Backbone`. Exact: 1 + the sum of (kernel - 1) x dilation."""
        return 1 + (self.config.kernel - 1) * sum(self.config.dilations)

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
        stream = self.embed(x)
        keep(layers, stream)
        for block in self.blocks[:layer]:
            stream = block(stream, mask)
            keep(layers, stream)
        return stream if layer is not None else self.norm(stream)

    def substitutions(self) -> Substitutions:
        """See `Backbone`. For single positions only what matters to them is computed."""
        return ByteNetSubstitutions(self)

    def embed(self, x: Tokens) -> Features:
        """The residual stream (B, L, D) before the first block.

        Nothing stands between the embedding and the layer that widens it, so the rows of all
        letters are widened once and then looked up.
        """
        letters = torch.arange(PROTEIN.size, device=self.embedding.weight.device)
        rows = F.linear(self.embedding(letters), self.widen.weight, self.widen.bias)
        return _rows_of(x, rows.to(self.embedding.weight.dtype))


def _rows_of(x: Tokens, rows: Tensor) -> Features:
    """Rows (V, D) of token ids (B, L), or their sums weighted by a soft one-hot (B, L, V)."""
    if x.is_floating_point():
        return (x.to(rows.dtype) @ rows).to(rows.dtype)  # under autocast a product is bfloat16
    return F.embedding(x.long(), rows)
