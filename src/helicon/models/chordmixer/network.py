"""ChordMixer, the network of FinDNA: perceptrons over channels, and rotations along the length.

Khalitov et al., "ChordMixer: A Scalable Neural Attention Model for Sequences with Different
Length", ICLR 2023, as FinDNA's code runs it. A linear layer takes the one-hot rows, blank ones for
hidden letters, to C channels. A block computes

    y = Linear_{h -> C}(GELU(Linear_{C -> h}(x)))
    x <- x + R(y)

R has no parameters. The channels stand in equal groups; group 0 stays where it is, and group g
takes what is 2^(g-1) positions further along the sequence, which closes to a circle: from the last
position on to the first. Blocks come in layers. In the published network a layer has as many
blocks, and one group more, as the logarithm to base two of the pretraining length, rounded up: so
every position can hear of every other within one layer.

The number of groups and their width fix by how much a channel is shifted. They belong to the model
and hold at every length, so that a pretrained channel is shifted downstream as it was before. (The
published code counts both anew for each task's length, which gives most channels another shift.)

The circle is that of the real positions: padding is left out of it, wherever it stands, so a
sequence in a batch is what it is alone. All that padded positions hold stays with them.

All shifts go one way: what stands before a position is heard of only around the circle, by the
length of the circle less the distance. On a circle of another length a trained network therefore
takes a letter from far away for its neighbour, and predicts no better than chance. So the length of
the circle belongs to the model too (`circle`): a shorter sequence is followed by blank positions up
to it, as in pretraining by the CLS tokens, and every channel hears of the same neighbours as then.
A longer sequence closes to a circle of its own; it is better read in windows of the model's length.

Without the wrap (`wrap=False`) nothing comes from beyond the end. Then what a position sees has an
end too: a genome can be cut in tiles, whose halos make them exact. That is not the published
network.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from helicon.errors import InputError
from helicon.models.parts.backbone import Backbone, Features, Mask, Tokens, keep, one_hot
from helicon.models.parts.blanks import made_up

#: Position that every group of every position takes from, by place in its sequence.
Places = Integer[Tensor, "rows length groups"]


@dataclass(frozen=True)
class ChordMixerConfig:
    """Everything that determines a ChordMixer network.

    Attributes:
        alphabet: what it reads, `dna` or `protein`.
        group: channels of a group.
        groups: groups of channels; the last is shifted by 2^(groups - 2) positions.
        layers: layers of `blocks` blocks each.
        blocks: blocks of a layer.
        hidden: width of a block's perceptron.
        norm: layer normalisation: `none`, as published; `pre`, of what a perceptron reads, and of
            the network's output; or `post`, after each addition, as in the ChordMixer of 2023.
        wrap: whether a sequence is a circle; else nothing comes from beyond its end.
        circle: positions of the circle at least; a shorter sequence is followed by blank ones. 0:
            as many as a sequence has. Pretraining sets it to its own length, CLS tokens included.
        dropout: probability, on a perceptron's hidden values and on its output.
    """

    alphabet: Literal["dna", "protein"] = "dna"
    group: int = 28
    groups: int = 11
    layers: int = 4
    blocks: int = 10
    hidden: int = 512
    norm: Literal["none", "pre", "post"] = "none"
    wrap: bool = True
    circle: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        least = {"group": 1, "groups": 2, "layers": 1, "blocks": 1, "hidden": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise InputError(
                    f"ChordMixer: {name} must be at least {lowest}, not {getattr(self, name)}"
                )
        if self.circle < 0 or (self.circle and not self.wrap):
            raise InputError(
                f"ChordMixer: circle is at least 0, and 0 without wrap, not {self.circle}"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"ChordMixer: dropout must be in [0, 1), not {self.dropout}")

    @property
    def d_model(self) -> int:
        """Channels of the residual stream."""
        return self.group * self.groups

    @property
    def shifts(self) -> list[int]:
        """By how many positions each group is shifted."""
        return [0, *(2**g for g in range(self.groups - 1))]

    @property
    def reach(self) -> int:
        """Furthest position along the sequence that a position's output depends on."""
        return self.layers * self.blocks * self.shifts[-1]

    def for_length(self, length: int) -> ChordMixerConfig:
        """This config with the blocks and groups that the paper gives to a pretraining length.

        Args:
            length: positions of a sequence, blank tokens included: 1,010 in the paper, for which
                there are 10 blocks and 11 groups.
        """
        blocks = max(1, (length - 1).bit_length())
        return dataclasses.replace(self, blocks=blocks, groups=blocks + 1)


class ChordMixer(Backbone):
    """The ChordMixer backbone."""

    architecture: ClassVar[str] = "chordmixer"

    def __init__(self, config: ChordMixerConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(self.alphabet.size, config.d_model)
        self.encoders = nn.ModuleList(
            nn.ModuleList(Block(config) for _ in range(config.blocks)) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else nn.Identity()

    @property
    def d_model(self) -> int:
        """Channels of the output."""
        return self.config.d_model

    @property
    def receptive_field(self) -> int | None:
        """See `Backbone`. Exact: a position sees itself and `reach` positions behind it.

        With the wrap there is none: the last position of a sequence sees the first, however long
        it is.
        """
        return None if self.config.wrap else 1 + 2 * self.config.reach

    @classmethod
    def pretrained_at(cls, config: ChordMixerConfig, length: int) -> ChordMixerConfig:
        """See `Backbone`. It takes over the circle, if it has one that was not told."""
        if config.wrap and not config.circle:
            return dataclasses.replace(config, circle=length)
        return config

    @property
    def layers(self) -> int:
        """See `Backbone`. A layer is `blocks` blocks; a last normalisation comes after them all."""
        return len(self.encoders)

    def forward(
        self,
        x: Tokens,
        mask: Mask | None = None,
        layer: int | None = None,
        layers: list[Features] | None = None,
    ) -> Features:
        """See `Backbone`."""
        length = x.shape[1]
        x, mask = made_up(x, mask, self.config.circle, self.alphabet)
        stream = self._embed(x)
        rotation = Rotation.of(self.config, stream, mask)
        keep(layers, stream[:, :length])
        for blocks in self.encoders[:layer]:
            for block in blocks.children():
                stream = block(stream, rotation)
            keep(layers, stream[:, :length])
        stream = stream[:, :length]
        return stream if layer is not None else self.norm(stream)

    def _embed(self, x: Tokens) -> Features:
        rows = one_hot(x, self.alphabet.size, self.embedding.weight.dtype)
        return self.embedding(rows).to(rows.dtype)  # the stream stays float32


class Block(nn.Module):
    """A perceptron on each position, and the rotation of what it gives."""

    def __init__(self, config: ChordMixerConfig):
        super().__init__()
        d = config.d_model
        self.norm = nn.Identity() if config.norm == "none" else nn.LayerNorm(d)
        self.post = config.norm == "post"
        self.fc1 = nn.Linear(d, config.hidden)
        self.fc2 = nn.Linear(config.hidden, d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Features, rotation: Rotation) -> Features:
        """Update the residual stream (B, L, C)."""
        if self.post:
            return self.norm(rotation.added(x, self.perceptron(x)))
        return rotation.added(x, self.perceptron(self.norm(x)))

    def perceptron(self, x: Features) -> Features:
        """What the block adds to (B, L, C), before it is rotated."""
        hidden = F.gelu(self.fc1(x))
        if not self.dropout.p:
            return self.fc2(hidden)
        return self.dropout(self.fc2(self.dropout(hidden)))


@dataclass(frozen=True)
class Rotation:
    """The rotation of channel groups in one batch: where each group of each position comes from.

    Channels-last activations are a table whose rows are the groups of the positions, one after
    another. A rotation is one gather of rows. It is made once for all blocks.

    Attributes:
        sequences: sequences that have a table of their own, with equal indices: all of the batch
            where none is padded; else 1, the batch being one table.
        channels: of a group: the columns of the table.
        there: index of the row that every row comes from.
        back: the same for the gradient; `None` where there is none.
    """

    sequences: int
    channels: int
    there: Taken
    back: Taken | None

    @classmethod
    def of(cls, config: ChordMixerConfig, x: Features, mask: Mask | None) -> Rotation:
        """The rotation in a batch of activations like x (B, L, C), with `mask` at real positions.

        A sequence may have its padding anywhere. Distances are counted over real positions alone.
        """
        real = mask
        if real is None:
            real = torch.ones(1, x.shape[1], dtype=torch.bool, device=x.device)
        shifts = torch.tensor(config.shifts, device=x.device)
        return cls(
            sequences=len(x) if mask is None else 1,
            channels=config.group,
            there=Taken.by(shifts, real, wrap=config.wrap),
            back=Taken.by(-shifts, real, wrap=config.wrap) if torch.is_grad_enabled() else None,
        )

    def added(self, x: Features, y: Features) -> Features:
        """The sum of x (B, L, C) and the rotated y, in the precision of x."""
        turned = self.rotated(y)
        return turned.add_(x) if turned.dtype == x.dtype else x + turned

    def rotated(self, y: Features) -> Features:
        """The values y (B, L, C), rotated, in memory of their own."""
        table = y.reshape(self.sequences, -1, self.channels)
        if self.back is None:
            return self.there.rows(table).view_as(y)
        return _Rotate.apply(table, self.there, self.back).view_as(y)


@dataclass(frozen=True)
class Taken:
    """Rows of a table in another order.

    Attributes:
        index: of the row to take, for each row.
        nothing: true for rows that have no origin, and become zero; `None` where all have.
    """

    index: Integer[Tensor, " table"]
    nothing: Bool[Tensor, " table"] | None

    @classmethod
    def by(cls, shifts: Integer[Tensor, " groups"], real: Mask, *, wrap: bool) -> Taken:
        """The group g of a position taken from `shifts[g]` real positions further along."""
        count, places = real.sum(1)[:, None, None], _origins(real, shifts)
        nothing = (
            None if wrap else (real[:, :, None] & ((places < 0) | (places >= count))).flatten()
        )
        places = places % count.clamp(min=1)
        order = (~real).int().argsort(dim=1, stable=True)  # the real positions, then the others
        found = order.gather(1, places.flatten(1)).view_as(places)
        own = torch.arange(real.shape[1], device=real.device)[:, None]
        position = torch.where(real[:, :, None], found, own)
        sequence = torch.arange(len(real), device=real.device)[:, None, None]
        row = (sequence * real.shape[1] + position) * len(shifts)
        return cls((row + torch.arange(len(shifts), device=real.device)).flatten(), nothing)

    def rows(self, table: Float[Tensor, "n table c"]) -> Float[Tensor, "n table c"]:
        """The rows, in memory of their own."""
        rows = table.index_select(1, self.index)
        return rows if self.nothing is None else rows.masked_fill_(self.nothing[:, None], 0)


def _origins(real: Mask, shifts: Integer[Tensor, " groups"]) -> Places:
    """Place among the real positions that each group of each position comes from, unwrapped."""
    return (real.cumsum(1) - 1)[:, :, None] + shifts


class _Rotate(torch.autograd.Function):
    """`Taken.rows` whose gradient is a gather too: torch's own would add row by row."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, there: Taken, back: Taken) -> Tensor:
        ctx.ways = there, back
        return there.rows(table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        there, back = ctx.ways
        return _Rotate.apply(gradients[0], back, there), None, None
