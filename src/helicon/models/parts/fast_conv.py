"""Dilated convolution with fewer multiplications, for wide float32 layers on a CPU.

A convolution is cut in tiles of `m` outputs. In one tile, for one pair of channels, `k` taps slide
over `n = m + k - 1` inputs `x`; written out that is `m k` products. A bilinear algorithm
(Winograd, "Arithmetic Complexity of Computations", 1980) computes the same numbers as

    y = A [(G w) * (B x)]            B: (r, n)    G: (r, k)    A: (m, r)    * element by element

with only `r` products. B and A are applied once a channel, so over many channels the `r` products
are what counts: one matrix product over channels for each. This is what Lavin and Gray (2016) do
for 3 x 3 filters with the points of Toom and Cook, which lose accuracy as tiles grow. Here the
points are the `n`-th roots of unity: B is a real Fourier transform and A its inverse, which are
orthogonal, hence as accurate as the plain sum, and each pair of conjugate points takes three
products (Gauss's complex multiplication, folded into A, B and G). For m = 16 and k = 9, 35
products replace 144. Zlateski, Jia, Li and Durand ("The Anatomy of Efficient FFT and Winograd
Convolutions on Modern CPUs", 2019) discuss the choice.

Dilation d interleaves d undilated convolutions; each phase has its own tiles.

Results differ from the plain convolution by float32 rounding alone. Within a tile the rounding of
every output depends on all `n` inputs, so an input beyond the kernel's reach may change the last
digits of an output; a NaN spreads over its tiles.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Sequence = Float[Tensor, "batch length channels"]

#: Outputs of a tile (m, even): more need fewer products, but cost more in the transforms.
OUTPUTS = 16
#: Activations worked on together (2 MiB), so that they and their transforms stay in a cache.
AT_ONCE = 2**19

_enabled = True


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Compute every convolution inside the block in the plain way, for comparison."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def pays(x: Sequence, weight: Tensor, dilation: int) -> bool:
    """Whether `fast_conv` is faster than the plain convolution (measured in `benchmarks/`).

    It needs wide layers and long kernels, against which the transforms are little work; enough
    positions to share the transform of the weight; and tiles that are mostly full.

    Args:
        x: activations (B, L, C).
        weight: (D, C, K) with K odd.
        dilation: distance between taps.
    """
    channels_out, channels_in, taps = weight.shape
    batch, length, _ = x.shape
    cell = OUTPUTS * dilation
    return (
        _enabled
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and 5 <= taps <= OUTPUTS + 1
        and taps * min(channels_in, channels_out) >= 512
        and batch * length >= 2048
        and 4 * length >= 3 * cell * math.ceil(length / cell)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def fast_conv(x: Sequence, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Sequence:
    """What `layers.conv` computes, with fewer products.

    Args:
        x: activations (B, L, C).
        weight: (D, C, K) with K odd, at most `OUTPUTS + 1`.
        bias: (D,) or `None`.
        dilation: distance between taps.

    Returns:
        Activations (B, L, D).
    """
    return _FastConv.apply(x, weight, bias, dilation)


@dataclass(frozen=True)
class Algorithm:
    """The three matrices of a bilinear convolution algorithm.

    Attributes:
        analysis: B, (products, inputs of a tile).
        filter: G, (products, taps).
        synthesis: A, (outputs of a tile, products).
    """

    analysis: Tensor
    filter: Tensor
    synthesis: Tensor


@functools.cache
def algorithm(taps: int, dtype: torch.dtype) -> Algorithm:
    """Correlation of `taps` (odd) with `OUTPUTS + taps - 1` inputs, at the roots of unity."""
    inputs = OUTPUTS + taps - 1
    place = torch.arange(inputs, dtype=torch.float64, device="cpu")
    frequency = place[: inputs // 2 + 1]
    angle = 2 * math.pi / inputs * torch.outer(frequency, place)
    # Spectrum of the input: p - iq. Conjugate spectrum of the taps: u + iv. Of their product,
    # with a = (p - q) u, b = p (v - u) and c = -q (u + v), the real part is a - c and the
    # imaginary part a + b. At the first and the last frequency q = v = 0, and a is enough.
    p, q = angle.cos(), angle.sin()
    u, v = p[:, :taps], q[:, :taps]
    complex_ = slice(1, -1)
    once = torch.full_like(frequency, 2 / inputs)
    once[0] = once[-1] = 1 / inputs
    real, imaginary = (once[:, None] * part[:, :OUTPUTS] for part in (p, -q))
    return Algorithm(
        analysis=torch.cat([p - q, p[complex_], -q[complex_]]).to(dtype),
        filter=torch.cat([u, (v - u)[complex_], (u + v)[complex_]]).to(dtype),
        synthesis=torch.cat([real + imaginary, imaginary[complex_], -real[complex_]]).mT.to(dtype),
    )


class _FastConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _convolve(x, weight, bias, dilation)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias, _ = ctx.needs_input_grad
        turned = weight.flip(2).transpose(0, 1)
        return (
            _convolve(gradient, turned, None, ctx.dilation) if to_x else None,
            _correlate(x, gradient, weight.shape, ctx.dilation) if to_weight else None,
            gradient.sum((0, 1)) if to_bias else None,
            None,
        )


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    channels_out, channels_in, taps = weight.shape
    how = algorithm(taps, x.dtype)
    filters = how.filter @ weight.permute(2, 1, 0).reshape(taps, -1)
    filters = filters.view(-1, channels_in, channels_out)
    grid = _Grid(x.shape, taps, dilation)
    out = x.new_empty(x.shape[0], grid.cells * grid.cell, channels_out)
    for part in grid.parts():
        spectra = _over_tiles(how.analysis, grid.inputs(x, part))
        products = torch.bmm(spectra.transpose(0, 1), filters).transpose(0, 1)
        grid.write(out, part, _over_tiles(how.synthesis, products), bias)
    return out[:, : x.shape[1]].contiguous()


def _correlate(x: Tensor, gradient: Tensor, shape: torch.Size, dilation: int) -> Tensor:
    """Gradient of the weight, of shape (D, C, K), from that of the output (B, L, D)."""
    channels_out, channels_in, taps = shape
    how = algorithm(taps, x.dtype)
    grid = _Grid(x.shape, taps, dilation)
    total = x.new_zeros(len(how.filter), channels_in, channels_out)
    for part in grid.parts():
        spectra = _over_tiles(how.analysis, grid.inputs(x, part))
        wanted = _over_tiles(how.synthesis.mT, grid.outputs(gradient, part))
        total.baddbmm_(spectra.permute(1, 2, 0), wanted.transpose(0, 1))
    to_taps = how.filter.mT @ total.flatten(1)
    return to_taps.view(taps, channels_in, channels_out).permute(2, 1, 0)


def _over_tiles(matrix: Tensor, tiles: Tensor) -> Tensor:
    """Apply a matrix (r, n) to the positions of every tile (tiles, n, C)."""
    return torch.bmm(matrix.expand(len(tiles), -1, -1), tiles)


@dataclass(frozen=True)
class _Part:
    """Some cells, in succession, of some sequences."""

    sequences: slice
    first: int
    cells: int


@dataclass(frozen=True)
class _Grid:
    """Where the tiles lie in a batch of sequences, of `shape` (B, L, C).

    A cell is `OUTPUTS * dilation` successive positions: one tile of each phase, interleaved.
    """

    shape: torch.Size
    taps: int
    dilation: int

    @property
    def cell(self) -> int:
        """Positions in a cell."""
        return OUTPUTS * self.dilation

    @property
    def cells(self) -> int:
        """Cells that cover a sequence."""
        return math.ceil(self.shape[1] / self.cell)

    def parts(self) -> Iterator[_Part]:
        """Cut the batch: several whole sequences at once, or pieces of a long one."""
        at_once = max(1, AT_ONCE // (self.cell * self.shape[2]))
        cells, sequences = min(self.cells, at_once), max(1, at_once // self.cells)
        for row in range(0, self.shape[0], sequences):
            for first in range(0, self.cells, cells):
                yield _Part(slice(row, row + sequences), first, min(cells, self.cells - first))

    def inputs(self, x: Tensor, part: _Part) -> Tensor:
        """The overlapping input tiles (tiles, n, C) of a part."""
        span = self._span(x, part, self.taps // 2 * self.dilation)
        phases = span.unflatten(1, (-1, self.dilation))
        tiles = phases.unfold(1, OUTPUTS + self.taps - 1, OUTPUTS)
        return tiles.transpose(3, 4).flatten(0, 2)

    def outputs(self, y: Tensor, part: _Part) -> Tensor:
        """The output tiles (tiles, m, D) of a part."""
        return self._by_tile(self._span(y, part, 0)).flatten(0, 2)

    def write(self, out: Tensor, part: _Part, tiles: Tensor, bias: Tensor | None) -> None:
        """Put output tiles (tiles, m, D) in their places, with the bias added."""
        start = part.first * self.cell
        place = self._by_tile(out[part.sequences, start : start + part.cells * self.cell])
        tiles = tiles.view(place.shape)
        if bias is None:
            place.copy_(tiles)
        else:
            torch.add(tiles, bias, out=place)

    def _by_tile(self, x: Tensor) -> Tensor:
        """View whole cells (sequences, positions, D) as (sequences, cells, phases, m, D)."""
        return x.unflatten(1, (-1, OUTPUTS, self.dilation)).transpose(2, 3)

    def _span(self, x: Tensor, part: _Part, reach: int) -> Tensor:
        """Positions of a part and `reach` more on both sides, zeros beyond the sequence."""
        start = part.first * self.cell - reach
        stop = (part.first + part.cells) * self.cell + reach
        inside = x[part.sequences, max(0, start) : stop]
        if inside.shape[1] == stop - start:
            return inside
        before = max(0, -start)
        after = before + inside.shape[1]
        span = x.new_empty(len(inside), stop - start, x.shape[2])
        span[:, :before] = 0
        span[:, before:after] = inside
        span[:, after:] = 0
        return span
