"""ConvNova's features after substitutions, by following the change from layer to layer.

Nearly everything in a block is done position by position, so only what has changed is done again.
A convolution mixes positions, but linearly:

    conv(new) = conv(reference) + conv(new - reference)

and the difference is zero but at the few positions that the layers below have changed: 9 behind the
stem, and (kernel - 1) x dilation more behind each block (17, 25, 33, 65, 193 for the published
dilations). The convolution of the reference is computed once.

Where the features of the substituted positions alone are wanted, the layers above need fewer and
fewer positions of those below, and only these are computed.

Activations are position-major, `(positions, substitutions, channels)`: positions that follow one
another are one block of memory, so that one matrix product serves a tap, or a frequency, of all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from helicon.models.parts.backbone import Backbone, one_hot
from helicon.models.parts.layers import Conv, conv
from helicon.models.parts.substitutions import Changed, Reference, Substitutions, Where

Rows = Float[Tensor, "positions batch channels"]
Index = slice | list[int]

#: Activations worked on together (2 MiB), so that they stay in a cache, and memory is used again.
AT_ONCE = 2**19


@dataclass(frozen=True)
class Hop:
    """One convolution, from positions that have changed to positions that change.

    Positions are counted from that of the substitution and ascend.

    Attributes:
        inputs: where the input has changed.
        outputs: where the output is wanted.
        taps: of the kernel (odd).
        dilation: distance between taps.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    taps: int
    dilation: int

    @property
    def reach(self) -> int:
        """Positions on either side that an input changes."""
        return self.taps // 2 * self.dilation

    @functools.cached_property
    def dense(self) -> bool:
        """Whether the inputs are a range, and the outputs all that it reaches."""
        first, last = self.inputs[0], self.inputs[-1]
        every = tuple(range(first - self.reach, last + self.reach + 1))
        return self.outputs == every and len(self.inputs) == last - first + 1

    @functools.cached_property
    def pairs(self) -> list[tuple[int, Index, Index]]:
        """For each tap, the inputs and the outputs that it connects, one to one."""
        place = {position: row for row, position in enumerate(self.outputs)}
        found = []
        for tap in range(self.taps):
            step = tap * self.dilation - self.reach
            rows = [i for i, position in enumerate(self.inputs) if position - step in place]
            if rows:
                ends = [place[self.inputs[i] - step] for i in rows]
                found.append((tap, _as_slice(rows), _as_slice(ends)))
        return found

    @functools.cached_property
    def kept(self) -> tuple[Index, Index]:
        """The inputs that are outputs too, and where among these."""
        place = {position: row for row, position in enumerate(self.outputs)}
        rows = [i for i, position in enumerate(self.inputs) if position in place]
        return _as_slice(rows), _as_slice([place[self.inputs[i]] for i in rows])


def _as_slice(rows: list[int]) -> Index:
    """An ascending index as a slice where it is one: a slice is a view, without a copy."""
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    regular = rows == list(range(rows[0], rows[0] + step * len(rows), step))
    return slice(rows[0], rows[-1] + 1, step) if regular else rows


def hops(
    dilations: list[int], taps: int, stem: int, width: int, where: Where
) -> tuple[tuple[int, ...], list[Hop]]:
    """Plan the blocks' convolutions.

    Args:
        dilations: of the blocks.
        taps: of the blocks' kernels.
        stem: taps of the stem's.
        width: letters substituted.
        where: positions whose output is wanted.

    Returns:
        The positions that the stem changes, and one hop a block.
    """
    half = taps // 2
    after_stem = set(range(-(stem // 2), width + stem // 2))
    changed = [after_stem]
    for dilation in dilations:
        reached = {p + t * dilation for p in changed[-1] for t in range(-half, half + 1)}
        changed.append(reached)
    if where == "affected":  # in a range without gaps, which wide dilations may leave
        changed[-1] = set(range(min(changed[-1]), max(changed[-1]) + 1))
        needed = changed
    else:
        needed = [set(range(width))]
        for dilation in reversed(dilations):
            read = {p + t * dilation for p in needed[0] for t in range(-half, half + 1)}
            needed.insert(0, read)
    computed = [tuple(sorted(c & n)) for c, n in zip(changed, needed, strict=True)]
    computed[0] = tuple(sorted(after_stem))
    between = zip(computed, computed[1:], dilations, strict=False)
    return computed[0], [Hop(i, o, taps, dilation) for i, o, dilation in between]


# ---------------------------------------------------------------- the convolution of a difference


@dataclass(frozen=True)
class Transform:
    """A bilinear algorithm (see `fast_conv`) for all outputs that some successive inputs reach.

    The points are the roots of unity of as many as there are outputs: beyond its ends the input is
    zero, so the circular convolution that they give is the plain one.

    Attributes:
        analysis: (products, inputs).
        filter: (products, taps).
        synthesis: (outputs, products).
    """

    analysis: Tensor
    filter: Tensor
    synthesis: Tensor

    @classmethod
    @functools.cache
    def of(cls, inputs: int, taps: int) -> Transform:
        """The algorithm for some numbers of inputs and taps."""
        outputs = inputs + taps - 1
        place = torch.arange(outputs, dtype=torch.float64)
        frequency = place[: outputs // 2 + 1]
        # Output j is what tap t reads at input j + t - (taps - 1).
        p, q = _waves(frequency, place[:inputs], outputs)
        u, v = _waves(frequency, place[:taps] - (taps - 1), outputs)
        real, imaginary = _waves(frequency, place, outputs)
        twins = (frequency > 0) & (2 * frequency < outputs)  # the points that have a conjugate
        weight = torch.where(twins, 2 / outputs, 1 / outputs)[:, None]
        real, imaginary = weight * real, -weight * imaginary
        return cls(
            analysis=torch.cat([p - q, p[twins], -q[twins]]).float(),
            filter=torch.cat([u, (v - u)[twins], (u + v)[twins]]).float(),
            synthesis=torch.cat([real + imaginary, imaginary[twins], -real[twins]]).mT.float(),
        )


def _waves(frequency: Tensor, place: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine (frequencies, places)."""
    angle = 2 * math.pi / period * torch.outer(frequency, place)
    return angle.cos(), angle.sin()


class Spread:
    """One convolution, ready for differences.

    Args:
        conv: the convolution, whose weights must stay as they are.
    """

    def __init__(self, conv: Conv | nn.Conv1d):
        self.taps = conv.weight.detach().permute(2, 1, 0).contiguous()
        self._filters: dict[int, Tensor] = {}

    def add(self, base: Rows, difference: Rows, hop: Hop) -> None:
        """Add to `base`, at the hop's outputs, what a difference at its inputs adds."""
        for tap, inputs, outputs in hop.pairs:
            base[outputs] += difference[inputs] @ self.taps[tap]

    def add_transformed(self, base: Rows, difference: Rows, hop: Hop) -> None:
        """The same with fewer products, for a dense hop; both have the rows of whole grids."""
        taps, channels_in, channels_out = self.taps.shape
        inputs = len(difference) // hop.dilation
        how = Transform.of(inputs, taps)
        if inputs not in self._filters:
            filters = how.filter @ self.taps.flatten(1)
            self._filters[inputs] = filters.view(-1, channels_in, channels_out)
        base, difference = base.view(inputs + taps - 1, -1), difference.view(inputs, -1)
        columns = max(1, AT_ONCE // len(how.analysis) // channels_in) * channels_in
        for first in range(0, difference.shape[1], columns):
            part = slice(first, first + columns)
            spectra = (how.analysis @ difference[:, part]).unflatten(1, (-1, channels_in))
            products = torch.bmm(spectra, self._filters[inputs]).flatten(1)
            base[:, part].addmm_(how.synthesis, products)


# ---------------------------------------------------------------- the network


@dataclass(frozen=True)
class _Layer:
    """What the reference's pass met in one block: inputs, normalised, and convolved (L, D)."""

    a: Tensor
    b: Tensor | None
    normed_a: Tensor
    normed_b: Tensor | None
    h: Tensor
    g: Tensor | None


@dataclass(frozen=True)
class _Known:
    """The reference's pass: each stem's convolution (L, D), and the blocks."""

    stems: list[Tensor]
    blocks: list[_Layer]


@dataclass(frozen=True)
class _Places:
    """Where in a sequence of `length` the substitutions are, (B,)."""

    positions: Tensor
    length: int

    def take(self, table: Tensor, offsets: tuple[int, ...]) -> Rows:
        """Rows of a table (L, D), at offsets from each substitution; beyond the ends any row."""
        rows = self._rows(offsets).clamp(0, self.length - 1)
        return table.index_select(0, rows.flatten()).view(*rows.shape, -1)

    def outside(self, offsets: tuple[int, ...]) -> Bool[Tensor, "positions batch"] | None:
        """Which offsets lie beyond the ends; `None` if none does."""
        rows = self._rows(offsets)
        beyond = (rows < 0) | (rows >= self.length)
        return beyond if bool(beyond.any()) else None

    def _rows(self, offsets: tuple[int, ...]) -> Tensor:
        return torch.tensor(offsets, device=self.positions.device)[:, None] + self.positions


class ConvNovaSubstitutions(Substitutions):
    """See the module's docstring. For dilated networks whose branches read one strand.

    A reference takes (6 x blocks + 3) x channels x 4 bytes a letter; sequences of many thousand
    letters are best cut in pieces, with a receptive field of context on either side.

    Args:
        network: a ConvNova.
    """

    def __init__(self, network: Backbone):
        self.network: Any = network
        self.config = network.config
        self.letters = _letters(network)
        self.stems = _stems(network)
        self.tables = [_table(weight, self.letters) for weight, _ in self.stems]
        names = ("conv",) if self.config.gate == "none" else ("conv", "gate")
        blocks: Any = network.blocks
        self.spreads = [{name: Spread(getattr(block, name)) for name in names} for block in blocks]
        self._plans: dict[tuple[int, Where], tuple[tuple[int, ...], list[Hop]]] = {}

    def reference(self, ids: Integer[Tensor, " length"]) -> Reference:
        """See `Substitutions`."""
        ids = ids.long()
        letters = self.letters[ids][None]
        stems = [conv(letters, *stem)[0].to(letters.dtype) for stem in self.stems]
        known = _Known(stems, [])
        a, b = _branches([F.gelu(stem) for stem in known.stems])
        for block in self.network.blocks:
            layer = _layer(block, a, b)
            known.blocks.append(layer)
            a, b = a.clone(), None if b is None else b.clone()
            _update(block, a, b, layer.h, layer.g)
        self._output(a)
        return Reference(ids, lambda: a, known)

    def of(
        self,
        reference: Reference,
        positions: Integer[Tensor, " n"],
        tokens: Integer[Tensor, "n width"],
        where: Where = "affected",
    ) -> Changed:
        """See `Substitutions`."""
        width = tokens.shape[1]
        first, plan = self._plan(width, where)
        known: _Known = reference.layers
        places = _Places(positions, len(reference))
        before = reference.ids[positions[:, None] + torch.arange(width, device=positions.device)]
        a, b = _branches(
            [
                F.gelu(places.take(stem, first) + _substituted(table, before, tokens.long()))
                for stem, table in zip(known.stems, self.tables, strict=True)
            ]
        )
        for number, (hop, layer) in enumerate(zip(plan, known.blocks, strict=True)):
            a, b = self._through(number, layer, a, b, hop, places)
        self._output(a)
        return Changed(positions + plan[-1].outputs[0], a.transpose(0, 1), len(reference))

    def bytes_each(self, length: int, width: int, where: Where) -> int:
        """See `Substitutions`."""
        _, plan = self._plan(width, where)
        rows = max(len(hop.outputs) for hop in plan)
        return 4 * self.config.d_model * rows * 4  # both branches and both convolutions

    def _plan(self, width: int, where: Where) -> tuple[tuple[int, ...], list[Hop]]:
        if (width, where) not in self._plans:
            config = self.config
            stem = self.network.stem.weight.shape[-1]
            plan = hops(config.dilations, config.kernel, stem, width, where)
            self._plans[width, where] = plan
        return self._plans[width, where]

    def _through(
        self, number: int, layer: _Layer, a: Rows, b: Rows | None, hop: Hop, places: _Places
    ) -> tuple[Rows, Rows | None]:
        """Both branches behind a block, at the outputs of its hop."""
        block, spread = self.network.blocks[number], self.spreads[number]
        difference = _difference(block.norm, a, layer.normed_a, hop, places)
        h = _convolved(spread["conv"], layer.h, difference, hop, places)
        g = None
        if layer.g is not None:
            if b is not None:
                assert layer.normed_b is not None
                difference = _difference(block.gate_norm, b, layer.normed_b, hop, places)
            g = _convolved(spread["gate"], layer.g, difference, hop, places)
        a = _carried(a, layer.a, hop, places)
        last = number == len(self.spreads) - 1  # whose second branch nobody reads
        b = None if b is None or last else _carried(b, layer.b, hop, places)
        _update(block, a, b, h, g)
        return a, b

    def _output(self, a: Tensor) -> None:
        """What follows the blocks, position by position; overwrites its input (..., D)."""
        for (rows,) in _in_parts(a):
            rows += _pointwise(self.network.mlp, rows)
            if self.config.final_conv:
                rows.copy_(_pointwise(self.network.final_conv, rows))


def _transforms(hop: Hop, rows: Tensor) -> bool:
    """Whether fewer products are faster, as in `fast_conv`: in float32 on a CPU."""
    return (
        hop.dense
        and rows.device.type == "cpu"
        and rows.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _difference(norm: nn.LayerNorm, new: Rows, known: Tensor, hop: Hop, places: _Places) -> Rows:
    """What has changed in the normalised input, at the hop's inputs, then zeros up to a grid."""
    rows = len(hop.inputs)
    grid = rows + (-rows % hop.dilation if _transforms(hop, new) else 0)
    found = new.new_empty(grid, *new.shape[1:])
    torch.sub(norm(new), places.take(known, hop.inputs), out=found[:rows])
    found[rows:] = 0
    outside = places.outside(hop.inputs)
    if outside is not None:
        found[:rows].masked_fill_(outside[..., None], 0)
    return found


def _convolved(spread: Spread, known: Tensor, difference: Rows, hop: Hop, places: _Places) -> Rows:
    """The changed convolution at the hop's outputs."""
    if not _transforms(hop, difference):
        base = places.take(known, hop.outputs)
        spread.add(base, difference, hop)
        return base
    grid = len(difference) + 2 * hop.reach
    first = hop.outputs[0]
    base = places.take(known, tuple(range(first, first + grid)))
    spread.add_transformed(base, difference, hop)
    return base[: len(hop.outputs)]


def _carried(new: Rows, known: Tensor | None, hop: Hop, places: _Places) -> Rows:
    """A branch at the hop's outputs: as it was in the reference, but where it has changed."""
    assert known is not None
    rows = places.take(known, hop.outputs)
    inputs, outputs = hop.kept
    rows[outputs] = new[inputs]
    return rows


def _layer(block: Any, a: Tensor, b: Tensor | None) -> _Layer:
    """Normalise and convolve the reference (L, D)."""
    normed_a = block.norm(a)
    normed_b = None if b is None else block.gate_norm(b)
    h, g = block.conv(normed_a[None])[0].to(a.dtype), None
    if block.gating != "none":
        g = block.gate((normed_a if normed_b is None else normed_b)[None])[0].to(a.dtype)
    return _Layer(a, b, normed_a, normed_b, h, g)


def _update(block: Any, a: Tensor, b: Tensor | None, h: Tensor, g: Tensor | None) -> None:
    """What a block does behind its convolutions h and g; overwrites the branches a and b."""
    for a_, b_, h_, g_ in _in_parts(a, b, h, g):
        if g_ is None:
            a_ += F.gelu(h_)
        else:
            gate = torch.sigmoid(g_)
            a_.addcmul_(F.gelu(h_), gate)
            if b_ is not None:
                b_ += gate
        if hasattr(block, "feed_forward"):
            a_ += _pointwise(block.feed_forward, a_)


def _pointwise(layers: nn.Sequential, rows: Tensor) -> Tensor:
    """Layers that work position by position, on rows (n, D), for which a product needs no image."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            rows = F.linear(rows, layer.weight, layer.bias)
        else:
            rows = layer(rows)
    return rows


def _in_parts(first: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Some rows at a time of tensors (..., D), which are contiguous."""
    rows = max(1, AT_ONCE // first.shape[-1])
    for start in range(0, first[..., 0].numel(), rows):
        part = slice(start, start + rows)
        yield tuple(x if x is None else x.flatten(0, -2)[part] for x in (first, *others))


def _branches(found: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    return found[0], found[1] if len(found) == 2 else None


def _letters(network: Any) -> Tensor:
    """What the stems read for every token, (tokens, letters)."""
    alphabet = network.alphabet
    weight = network.stem.weight
    tokens = torch.arange(len(alphabet.vocabulary), device=weight.device)
    if network.config.mask_reads_as == "N":
        tokens[alphabet.mask_id] = alphabet.unknown_id
    return one_hot(tokens, alphabet.size, weight.dtype)


def _stems(network: Any) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each stem, as if both read the sequence and none its complement."""
    stems = [(network.stem.weight.detach(), network.stem.bias.detach())]
    if network.config.gate == "dual":
        columns = list(network.alphabet.complement_ids)
        gate = network.gate_stem
        stems.append((gate.weight.detach()[:, columns], gate.bias.detach()))
    return stems


def _table(weight: Tensor, letters: Tensor) -> Tensor:
    """What every token adds to the positions around it, in order: (taps, tokens, D)."""
    return torch.einsum("dlk,tl->ktd", weight, letters).flip(0)


def _substituted(table: Tensor, before: Tensor, after: Tensor) -> Rows:
    """What substitutions (n, w) change in a stem's convolution: (taps + w - 1, n, D)."""
    taps, width = len(table), before.shape[1]
    found = table.new_zeros(taps + width - 1, len(before), table.shape[2])
    for letter in range(width):
        found[letter : letter + taps] += table[:, after[:, letter]] - table[:, before[:, letter]]
    return found
