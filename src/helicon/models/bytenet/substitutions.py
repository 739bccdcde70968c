"""ByteNet's features at substituted positions, from those activations alone that matter for them.

To score the substitutions of a protein each position is hidden in turn, and what the network says
of that one position is wanted. A full pass for each would compute almost the same numbers again and
again: behind a block, a hidden position has changed those positions alone that the blocks so far
carry it to, and the output at that position depends on those alone from which the blocks to come
carry back. Only positions of both kinds are computed (for the published dilations at most 1,021,
mostly far fewer: a quarter of a protein of 300 residues, a tenth of a long one); all others are as
they were in one pass over the unchanged sequence.

A convolution is linear, so of its input only what has changed is convolved:

    conv(new) = conv(unchanged) + conv(new - unchanged)

Its outputs are sorted by which of their taps read something that has changed; each sort is one
matrix product, for all sites together. The result is that of full passes, up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor

from helicon.models.parts.backbone import Backbone, Features
from helicon.models.parts.substitutions import Changed, Cropped, Reference, Where

Whole = NDArray[np.int64]

#: Bytes of what is kept of the unchanged sequence, for sites that are served together. What the
#: sites see beyond their own stretch comes on top.
KEPT = 2**29
#: Positions of all sites that are worked on together.
CPU_ROWS, GPU_ROWS = 2**14, 2**17
#: Activations of the stream that are worked on at once: on a CPU 2 MiB, so that they and what is
#: made of them stay in a cache, and memory is used again.
CPU_PART, GPU_PART = 2**19, 2**25


class ByteNetSubstitutions(Cropped):
    """See the module's docstring, for the features of single substituted positions.

    All others, of every affected position or of longer stretches, are `Cropped`'s.

    Args:
        network: a ByteNet.
    """

    def __init__(self, network: Backbone):
        super().__init__(network, network.receptive_field, channels=network.d_model)

    def of(
        self,
        reference: Reference,
        positions: Integer[Tensor, " n"],
        tokens: Integer[Tensor, "n width"],
        where: Where = "affected",
    ) -> Changed:
        """See `Substitutions`."""
        if not _single(tokens.shape[1], where):
            return super().of(reference, positions, tokens, where)
        features = _at_sites(self.network, reference.ids, positions, tokens[:, 0])
        return Changed(positions, features[:, None], len(reference))

    def bytes_each(self, length: int, width: int, where: Where) -> int:
        """See `Substitutions`. Single positions are worked on in parts of a fixed size."""
        if not _single(width, where):
            return super().bytes_each(length, width, where)
        return 4 * self.channels


def _single(width: int, where: Where) -> bool:
    return where == "substituted" and width == 1


def _at_sites(
    network: Any,
    x: Integer[Tensor, " length"],
    positions: Integer[Tensor, " sites"],
    letters: Integer[Tensor, " sites"],
) -> Float[Tensor, "sites channels"]:
    """Features at positions, each of which is substituted while all others are as they are.

    Args:
        network: a ByteNet in evaluation mode; no gradients flow.
        x: token ids (L,) of the whole sequence.
        positions: 0-based, (n,), in any order.
        letters: the ids that stand there instead, (n,).

    Returns:
        (n, D).
    """
    config = network.config
    cone = Cone.of(tuple(config.dilations), config.kernel)
    order = positions.cpu().numpy().astype(np.int64).argsort(kind="stable")
    ascending = positions.cpu().numpy()[order].astype(np.int64)
    rows = network.embed(letters[torch.from_numpy(order).to(x.device)][None])[0]
    out = torch.empty_like(rows)
    for part in _together(network, ascending):
        known = _Known.of(network, x, ascending[part], cone)
        for some in _at_once(x, cone, part):
            found = _Front(network, cone, known, ascending[some], rows[some]).behind_all()
            out[torch.from_numpy(order[some]).to(x.device)] = found
    return network.norm(out)


def _together(network: Any, ascending: Whole) -> Iterator[slice]:
    """Sites that share one pass over the unchanged sequence."""
    each = 4 * (network.config.d_model + 2 * network.config.hidden) * max(1, network.config.blocks)
    span = max(256, KEPT // each)
    first = 0
    while first < len(ascending):
        last = int(np.searchsorted(ascending, ascending[first] + span))
        yield slice(first, last)
        first = last


def _at_once(x: Tensor, cone: Cone, part: slice) -> Iterator[slice]:
    """Sites that go through the network together."""
    rows = CPU_ROWS if x.device.type == "cpu" else GPU_ROWS
    count = max(1, rows // min(cone.widest, len(x)))
    for first in range(part.start, part.stop, count):
        yield slice(first, min(first + count, part.stop))


@dataclass(frozen=True, eq=False)
class Cone:
    """Which positions matter behind each block, counted from the substituted one.

    Attributes:
        offsets: behind so many blocks (0: behind none), ascending.
        dilations: of the blocks.
        taps: of their kernels.
        reach: how far on either side of a site anything matters.
    """

    offsets: tuple[Whole, ...]
    dilations: tuple[int, ...]
    taps: int
    reach: int

    @classmethod
    @functools.lru_cache(maxsize=256)
    def of(cls, dilations: tuple[int, ...], taps: int) -> Cone:
        """For the output of blocks with these dilations."""
        reach = taps // 2 * sum(dilations)
        site = np.zeros(2 * reach + 1, dtype=bool)
        site[reach] = True
        changed, needed = [site], [site]
        for dilation in dilations:
            changed.append(_spread(changed[-1], dilation, taps))
        for dilation in reversed(dilations):
            needed.insert(0, _spread(needed[0], dilation, taps))
        offsets = [np.flatnonzero(c & n) - reach for c, n in zip(changed, needed, strict=True)]
        return cls(tuple(offsets), dilations, taps, reach)

    @property
    def widest(self) -> int:
        """The most positions behind a block."""
        return max(map(len, self.offsets))

    def extent(self, block: int) -> int:
        """How far from a site the input or output of a block (0: the first) matters."""
        return max(int(self.offsets[block][-1]), int(self.offsets[block + 1][-1]))


def _spread(places: NDArray[np.bool_], dilation: int, taps: int) -> NDArray[np.bool_]:
    """Where the taps lead from some places; never beyond the ends of the array."""
    found = places.copy()
    for step in range(dilation, taps // 2 * dilation + 1, dilation):
        found[step:] |= places[:-step]
        found[:-step] |= places[step:]
    return found


@dataclass(frozen=True)
class _Layer:
    """What the pass over the unchanged sequence met in one block, from position `start` on.

    Attributes:
        start: position of the first row.
        stream: what came in (positions, D).
        inputs: of the convolution (positions, h).
        convolved: its output (positions, h).
        weight: of the convolution, (taps, h in, h out).
    """

    start: int
    stream: Tensor
    inputs: Tensor
    convolved: Tensor
    weight: Tensor


@dataclass(frozen=True)
class _Known:
    """What is known before anything is substituted.

    Attributes:
        length: of the sequence.
        layers: one a block.
    """

    length: int
    layers: list[_Layer]

    @classmethod
    def of(cls, network: Any, x: Tensor, sites: Whole, cone: Cone) -> _Known:
        """Read as much of a sequence (L,) as some sites (n,), ascending, see.

        Beyond what they see the sequence may end wherever it likes.
        """
        first = max(0, int(sites[0]) - cone.reach)
        last = min(len(x), int(sites[-1]) + cone.reach + 1)
        stream: Features = network.embed(x[None, first:last])
        layers = []
        for number in range(len(cone.dilations)):
            block: Any = network.blocks[number]
            inputs = block.before(stream)
            convolved = block.conv(inputs)
            far = cone.extent(number)
            start = max(first, int(sites[0]) - far)
            kept = slice(start - first, int(sites[-1]) + far + 1 - first)
            layers.append(
                _Layer(
                    start,
                    stream=_rows(stream, kept, stream.dtype),
                    inputs=_rows(inputs, kept, stream.dtype),
                    convolved=_rows(convolved, kept, stream.dtype),
                    weight=block.conv.weight.detach().permute(2, 1, 0).contiguous(),
                )
            )
            stream = stream + block.after(convolved)
        return cls(len(x), layers)


def _rows(part: Tensor, kept: slice, dtype: torch.dtype) -> Tensor:
    """Some rows of (1, W, C), which do not hold all the others in memory."""
    rows = part[0, kept].to(dtype)
    return rows if len(rows) == part.shape[1] else rows.clone()


@dataclass(frozen=True)
class _Hop:
    """How some positions behind a block are made of those before it.

    Attributes:
        positions: in the sequence, (M,), sorted by which taps are live.
        sources: what each tap reads, (M, taps): a row of the positions before; -1 where nothing
            has changed.
        groups: first row, end, and first and last live tap (half-open) of rows with the same.
        slots: row of each site and offset, (sites, offsets); -1 beyond the ends.
    """

    positions: Whole
    sources: Whole
    groups: list[tuple[int, int, int, int]]
    slots: Whole


class _Front:
    """The positions of some sites that have changed, on their way through the blocks.

    Args:
        network: the network.
        cone: of the sites.
        known: the unchanged sequence.
        sites: positions (n,).
        rows: what the stream is at the sites, before the first block: (n, D).
    """

    def __init__(self, network: Any, cone: Cone, known: _Known, sites: Whole, rows: Tensor):
        self.network, self.cone, self.known, self.sites = network, cone, known, sites
        self.stream = rows
        self.positions = sites
        self.slots = np.arange(len(sites))[:, None]

    def behind_all(self) -> Tensor:
        """The stream at the sites, (n, D), behind all blocks."""
        for number, layer in enumerate(self.known.layers):
            self._pass(self.network.blocks[number], layer, self._hop(number))
        return self.stream.index_select(0, self._index(self.slots[:, 0]))

    def _hop(self, number: int) -> _Hop:
        """Plan a block."""
        before, after = self.cone.offsets[number : number + 2]
        half, taps = self.cone.taps // 2, self.cone.taps
        read = after[:, None] + np.arange(-half, half + 1) * self.cone.dilations[number]
        column = np.searchsorted(before, read).clip(max=len(before) - 1)
        sources = np.where(before[column] == read, self.slots[:, column], -1)
        live = sources >= 0
        first = live.argmax(-1)
        last = np.where(live.any(-1), taps - live[..., ::-1].argmax(-1), first)
        positions = self.sites[:, None] + after
        inside = (positions >= 0) & (positions < self.known.length)
        kind = np.where(inside, first * (taps + 1) + last, (taps + 1) ** 2).ravel()
        order = kind.argsort(kind="stable")[: int(inside.sum())]
        slots = np.full(kind.shape, -1)
        slots[order] = np.arange(len(order))
        kinds, starts = np.unique(kind[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        groups = [
            (start, end, *divmod(one, taps + 1))
            for start, end, one in zip(starts.tolist(), ends, kinds.tolist(), strict=True)
        ]
        sources = sources.reshape(-1, taps)[order]
        return _Hop(positions.ravel()[order], sources, groups, slots.reshape(positions.shape))

    def _pass(self, block: Any, layer: _Layer, hop: _Hop) -> None:
        """Go through a block, some rows at a time."""
        here = self._index(self.positions - layer.start)
        difference = self.stream.new_empty(len(here), layer.inputs.shape[1])
        for part in _parts(0, len(here), self.stream):
            known = layer.inputs.index_select(0, here[part])
            difference[part] = _before(block, self.stream[part]) - known
        there = self._index(hop.positions - layer.start)
        stream = self._carried(layer, hop, there)
        for start, end, first, last in hop.groups:
            weight = layer.weight[first:last].flatten(0, 1)
            for part in _parts(start, end, stream):
                convolved = layer.convolved.index_select(0, there[part])
                if len(weight):
                    index = self._index(hop.sources[part, first:last].ravel())
                    gathered = difference.index_select(0, index).view(-1, len(weight))
                    convolved = torch.addmm(convolved, gathered, weight)
                stream[part] += _after(block, convolved)
        self.stream, self.positions, self.slots = stream, hop.positions, hop.slots

    def _carried(self, layer: _Layer, hop: _Hop, there: Tensor) -> Tensor:
        """The stream that a block is added to, where it is added: new where it has changed."""
        own = hop.sources[:, self.cone.taps // 2]
        changed = np.flatnonzero(own >= 0)
        if len(changed) == len(own):
            return self.stream.index_select(0, self._index(own))
        found = layer.stream.index_select(0, there)
        new = self.stream.index_select(0, self._index(own[changed]))
        return found.index_copy_(0, self._index(changed), new)

    def _index(self, rows: Whole) -> Tensor:
        return torch.from_numpy(rows).to(self.stream.device)


def _parts(start: int, end: int, stream: Tensor) -> Iterator[slice]:
    """Some rows at a time, from `start` to before `end`, of a stream (M, D)."""
    activations = CPU_PART if stream.device.type == "cpu" else GPU_PART
    each = max(1, activations // stream.shape[1])
    for first in range(start, end, each):
        yield slice(first, min(first + each, end))


def _before(block: Any, rows: Tensor) -> Tensor:
    """`Block.before` of rows (n, D), for which a product needs no image."""
    rows = _linear(block.narrow, block.activation(block.norm_in(rows)))
    return block.activation(block.norm(rows))


def _after(block: Any, rows: Tensor) -> Tensor:
    """`Block.after` of rows (n, h)."""
    return _linear(block.widen, block.activation(block.norm_out(rows)))


def _linear(layer: Any, rows: Tensor) -> Tensor:
    return F.linear(rows, layer.weight, layer.bias)
