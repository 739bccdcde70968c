"""ConvNova: a gated, dilated, dual-branch convolutional network over nucleotides.

Bo et al., "Revisiting Convolution Architecture in the Realm of DNA Foundation Models", ICLR 2025.
Two stems read the sequence and its complement. Each gated convolutional block (GCB) computes

    h = GELU(DilatedConv(LayerNorm(A)))      g = sigmoid(DilatedConv(LayerNorm(B)))
    A <- A + h * g                           B <- B + g

followed, if `feed_forward`, by A <- A + LayerNorm(GELU(Linear(A))). A residual output MLP ends it.

The paper's text and its published code differ; the defaults follow the code, with which the
published numbers were made, and options give the paper's text and its ablations:

- dilations: code 1, 1, 1, d, d^2, ... (`official`); text 1, 1, d, d^2, ... (`paper`); cap 1024.
- second branch: code feeds the complement, not the reverse complement. The network is therefore
  neither invariant nor equivariant under reverse complement.
- the mask symbol: the code gives it the id of N. Here it is a blank row (all-zero one-hot), so
  that "unknown" and "predict me" differ; `mask_reads_as="N"` is the code's way.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models.convnova.substitutions import ConvNovaSubstitutions
from helicon.models.parts.backbone import Backbone, Features, Mask, Tokens, keep, one_hot
from helicon.models.parts.layers import Conv, Pointwise, Sequence, conv
from helicon.models.parts.substitutions import Substitutions

STEM_KERNEL = 9
MAX_DILATION = 1024

Cells = Float[Tensor, "batch cells channels"]


@dataclass(frozen=True)
class ConvNovaConfig:
    """Everything that determines a ConvNova network.

    Attributes:
        d_model: channels of each branch.
        blocks: gated convolutional blocks in a stack.
        stacks: times that each dilation is repeated; the copies start with equal weights.
        kernel: taps of a block's convolutions (odd). The stems have 9 whatever this is.
        dilation: base d of the dilation schedule.
        schedule: `official` (1, 1, 1, d, d^2, ...) or `paper` (1, 1, d, d^2, ...).
        branch: what the second stem reads: `complement`, or `reverse_complement` (an ablation;
            the network then sees the whole sequence).
        gate: `dual`; ablations of section 4: `single` (the gate reads the first branch) and
            `none` (no gate, no second branch).
        downsample: instead of dilating, pool by the dilation, convolve, and repeat (an ablation).
        feed_forward: whether a position-wise layer follows each block.
        mlp_ratio: width of the output MLP over `d_model`.
        final_conv: whether two width-one convolutions end the network (off in all published runs).
        dropout: probability, before each normalisation.
        mask_reads_as: `blank` (an all-zero row) or `N`.
    """

    alphabet: ClassVar[str] = DNA.name

    d_model: int = 128
    blocks: int = 5
    stacks: int = 1
    kernel: int = 9
    dilation: int = 4
    schedule: Literal["official", "paper"] = "official"
    branch: Literal["complement", "reverse_complement"] = "complement"
    gate: Literal["dual", "single", "none"] = "dual"
    downsample: bool = False
    feed_forward: bool = True
    mlp_ratio: int = 2
    final_conv: bool = False
    dropout: float = 0.0
    mask_reads_as: Literal["blank", "N"] = "blank"

    def __post_init__(self) -> None:
        for name in ("d_model", "blocks", "stacks", "kernel", "dilation", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise InputError(f"ConvNova: {name} must be at least 1, not {getattr(self, name)}")
        if self.kernel % 2 == 0:
            raise InputError(f"ConvNova: kernel must be odd, not {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"ConvNova: dropout must be in [0, 1), not {self.dropout}")

    @property
    def dilations(self) -> list[int]:
        """Dilation of every block, in order (section 3.2; see the module's docstring)."""
        return [self.dilation_of(i) for i in range(self.blocks) for _ in range(self.stacks)]

    def dilation_of(self, number: int) -> int:
        """Dilation of a stack's block, counted from 0."""
        power = max(0, number - (2 if self.schedule == "official" else 1))
        most = MAX_DILATION.bit_length()  # from there on any power is above the cap
        return min(MAX_DILATION, self.dilation ** min(power, most))


class GatedBlock(nn.Module):
    """One gated convolutional block (GCB) with its optional feed-forward layer."""

    def __init__(self, config: ConvNovaConfig, dilation: int):
        super().__init__()
        d = config.d_model
        self.gating = config.gate
        self.pool = dilation if config.downsample else 1
        step = 1 if config.downsample else dilation
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(d)
        self.conv = Conv(d, d, config.kernel, step)
        if self.gating != "none":
            self.gate = Conv(d, d, config.kernel, step)
        if self.gating == "dual":
            self.gate_norm = nn.LayerNorm(d)
        if config.feed_forward:
            self.feed_forward = nn.Sequential(Pointwise(d, d), nn.GELU(), nn.LayerNorm(d))

    def forward(self, a: Sequence, b: Sequence | None, mask: Mask | None) -> tuple:
        """Update both branches, each (B, L, D)."""
        normed = self._prepare(a, self.norm, mask)
        h = F.gelu(self._convolve(self.conv, normed, mask))
        if self.gating == "none":
            a = a + h
        elif b is None:
            a = torch.addcmul(a, h, torch.sigmoid(self._convolve(self.gate, normed, mask)))
        else:
            normed = self._prepare(b, self.gate_norm, mask)
            g = torch.sigmoid(self._convolve(self.gate, normed, mask))
            a, b = torch.addcmul(a, h, g), b + g
        if hasattr(self, "feed_forward"):
            a = a + self.feed_forward(a)
        return a, b

    def _prepare(self, x: Sequence, norm: nn.LayerNorm, mask: Mask | None) -> Sequence:
        """Normalise, and put zeros where a convolution would read beyond the real sequence."""
        x = norm(self.dropout(x) if self.dropout.p else x)
        return x if mask is None else x * mask.unsqueeze(-1)

    def _convolve(self, conv: Conv, x: Sequence, mask: Mask | None) -> Sequence:
        if self.pool == 1:
            return conv(x)
        return _repeat(conv(_average(x, self.pool, mask)), self.pool, x.shape[1])


def _average(x: Sequence, width: int, mask: Mask | None) -> Cells:
    """Means over cells of `width` positions, of the real positions in each."""
    spare = -x.shape[1] % width
    cells = F.pad(x, (0, 0, 0, spare)).unflatten(1, (-1, width)).sum(2)
    real = x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype)
    counts = F.pad(real, (0, spare)).unflatten(1, (-1, width)).sum(2)
    return cells / counts.clamp(min=1).unsqueeze(-1)


def _repeat(x: Cells, width: int, length: int) -> Sequence:
    return x.repeat_interleave(width, dim=1)[:, :length]


class ConvNova(Backbone):
    """The ConvNova backbone."""

    architecture: ClassVar[str] = "convnova"

    def __init__(self, config: ConvNovaConfig):
        super().__init__()
        self.config = config
        d, wide = config.d_model, config.d_model * config.mlp_ratio
        self.stem = Conv(DNA.size, d, STEM_KERNEL)
        if config.gate == "dual":
            self.gate_stem = Conv(DNA.size, d, STEM_KERNEL)
        self.blocks = nn.ModuleList(_blocks(config))
        self.mlp = nn.Sequential(
            Pointwise(d, wide),
            nn.GELU(),
            Pointwise(wide, wide),
            nn.LayerNorm(wide),
            Pointwise(wide, wide),
            nn.GELU(),
            Pointwise(wide, d),
            nn.LayerNorm(d),
        )
        if config.final_conv:
            self.final_conv = nn.Sequential(Pointwise(d, d), nn.GELU(), Pointwise(d, d))

    @property
    def d_model(self) -> int:
        """Channels of the output."""
        return self.config.d_model

    @property
    def receptive_field(self) -> int | None:
        """See `Backbone`. Exact: 1 + (stem 9 - 1) + the sum of (kernel - 1) x dilation.

        With `downsample` the reach depends on where a position lies in its cell; this is the
        farthest reach, on both sides.
        """
        if self.config.branch == "reverse_complement" and self.config.gate == "dual":
            return None
        if self.config.downsample:
            return 2 * _reach_through_cells(self.config) + 1
        return STEM_KERNEL + (self.config.kernel - 1) * sum(self.config.dilations)

    @property
    def mask_letter(self) -> str | None:
        """See `Backbone`."""
        return "N" if self.config.mask_reads_as == "N" else None

    @property
    def cell(self) -> int:
        """See `Backbone`."""
        return math.lcm(*self.config.dilations) if self.config.downsample else 1

    @property
    def layers(self) -> int:
        """See `Backbone`. A layer is a gated block; the output MLP comes after the last."""
        return len(self.blocks)

    def forward(
        self,
        x: Tokens,
        mask: Mask | None = None,
        layer: int | None = None,
        layers: list[Features] | None = None,
    ) -> Features:
        """See `Backbone`. Of a block, the first branch is given."""
        dtype = self.stem.weight.dtype
        if self.mask_letter is not None and not x.is_floating_point():
            x = torch.where(x == DNA.mask_id, DNA.letters.index(self.mask_letter), x)
        letters = one_hot(x, DNA.size, dtype)
        if mask is not None:
            letters = letters * mask.unsqueeze(-1)
        if not self.config.downsample or mask is None:
            return self._run(letters, mask, layer, layers)
        shift = _left_padding(mask)  # cells are counted from the first real position
        found = self._run(_roll(letters, shift), _roll(mask, shift), layer, layers)
        if layers is not None:
            layers[:] = [_roll(one, -shift) for one in layers]
        return _roll(found, -shift)

    def substitutions(self) -> Substitutions:
        """See `Backbone`."""
        local = self.receptive_field is not None and not self.config.downsample
        return ConvNovaSubstitutions(self) if local else super().substitutions()

    def _run(
        self,
        letters: Tensor,
        mask: Mask | None,
        layer: int | None,
        layers: list[Features] | None,
    ) -> Features:
        """Features (B, L, D) of one-hot rows (B, L, V) that are zero at padding."""
        a, b = self._stems(letters, mask)
        # Autocast rounds each convolution's output; sums of many blocks stay in full precision.
        a, b = a.to(letters.dtype), None if b is None else b.to(letters.dtype)
        keep(layers, a)
        for block in self.blocks[:layer]:
            a, b = block(a, b, mask)
            keep(layers, a)
        if layer is not None:
            return a
        a = a + self.mlp(a)
        return self.final_conv(a) if self.config.final_conv else a

    def _stems(self, letters: Tensor, mask: Mask | None) -> tuple[Sequence, Sequence | None]:
        """First activations of both branches.

        The complement is a permutation of the input's columns, hence of the weight's: one
        convolution with twice the outputs serves both branches.
        """
        if self.config.gate != "dual":
            return F.gelu(self.stem(letters)), None
        columns = list(DNA.complement_ids)
        if self.config.branch == "reverse_complement":
            opposite = _flip(letters, mask)[..., columns]
            return F.gelu(self.stem(letters)), F.gelu(self.gate_stem(opposite))
        weight = torch.cat([self.stem.weight, self.gate_stem.weight[:, columns]])
        bias = torch.cat([self.stem.bias, self.gate_stem.bias])
        a, b = F.gelu(conv(letters, weight, bias)).chunk(2, dim=-1)
        return a.contiguous(), b.contiguous()


def _blocks(config: ConvNovaConfig) -> Iterator[GatedBlock]:
    """The blocks in order; the copies of a dilation in a stack start with equal weights."""
    for number in range(config.blocks):
        block = GatedBlock(config, config.dilation_of(number))
        yield block
        for _ in range(config.stacks - 1):
            yield copy.deepcopy(block)


def _reach_through_cells(config: ConvNovaConfig) -> int:
    """Farthest reach of any position, with pooling in place of dilation.

    The pattern of cells repeats with the least common multiple of their widths, which is not the
    largest width once the cap cuts a power.
    """
    half = config.kernel // 2
    position = np.arange(math.lcm(*config.dilations))
    low = high = position
    for width in reversed(config.dilations):
        low = (low // width - half) * width
        high = (high // width + half + 1) * width - 1
    return int(max((position - low).max(), (high - position).max())) + STEM_KERNEL // 2


def _left_padding(mask: Mask) -> Tensor:
    """Padded positions before the first real one, shape (B,)."""
    return mask.to(torch.uint8).argmax(dim=1)


def _roll(x: Tensor, shift: Tensor) -> Tensor:
    """Rotate each sequence of (B, L, ...) to the left by its own shift (B,)."""
    length = x.shape[1]
    index = (torch.arange(length, device=x.device) + shift.unsqueeze(1)) % length
    return _take(x, index)


def _flip(x: Float[Tensor, "batch length letters"], mask: Mask | None) -> Tensor:
    """Reverse each sequence over its real span; padding stays where it is."""
    if mask is None:
        return x.flip(1)
    length = x.shape[1]
    first = _left_padding(mask).unsqueeze(1)
    last = length - 1 - _left_padding(mask.flip(1)).unsqueeze(1)
    index = first + last - torch.arange(length, device=x.device)
    return _take(x, index.clamp(0, length - 1)) * mask.unsqueeze(-1)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Positions `index` (B, L) of every sequence of `x` (B, L, ...)."""
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    return x[rows, index]
