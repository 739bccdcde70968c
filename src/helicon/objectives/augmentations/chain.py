"""Views of batches: what a chain of operations makes of sequences, and how labels follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8, Int16, Integer, Shaped
from torch import Tensor

from helicon.alphabet import DNA, Alphabet
from helicon.models.parts.backbone import Mask, Tokens, one_hot
from helicon.objectives.augmentations.arrays import (
    NumberType,
    Whole,
    beside,
    cast,
    select,
    taken,
    tensor,
    under,
)
from helicon.objectives.augmentations.letters import (
    Letters,
    Turned,
    complemented_columns,
    named,
    new_letters,
    pairing,
)
from helicon.objectives.augmentations.random import Numbers
from helicon.objectives.augmentations.stage import (
    NO_TARGET,
    Change,
    Draft,
    Extent,
    Move,
    Operation,
    Places,
    Site,
)
from helicon.objectives.masked_lm import IGNORE


@dataclass(frozen=True, eq=False)
class View:
    """An augmented batch.

    Attributes:
        inputs: token ids (B, L) of the type given, or soft rows (B, L, V): float32 where noise
            was added to ids, of the type given where soft rows were given.
        mask: true at real positions, as given.
        targets: the letter to predict (B, L), `IGNORE` elsewhere; `None` without masking.
        places: column of the given batch from which each letter came, (B, L); L or more for a
            letter that is new.
        turned: 1 where a letter is the complement of the given one, else 0, (B, 1) or (B, L);
            `None` if nowhere.
    """

    inputs: Tokens
    mask: Mask | None
    targets: Int16[Tensor, "batch length"] | None
    places: Integer[Tensor, "batch length"]
    turned: Integer[Tensor, "batch _"] | None

    def follow(
        self,
        values: Shaped[Tensor, "batch length *channels"],
        fill: int | float = IGNORE,
        opposite: Sequence[int] | None = None,
    ) -> Shaped[Tensor, "batch length *channels"]:
        """Move what belongs to positions (labels, weights) as their letters were moved.

        Args:
            values: of the positions of the given batch, (B, L) or (B, L, C).
            fill: value of new letters.
            opposite: for every label the one that means the same on the other strand, to be taken
                where a letter was complemented: of labels (B, L) the values (negative ones stay),
                of (B, L, C) the channels.

        Returns:
            The values of the view's positions.
        """
        length = values.shape[1]
        rows = torch.arange(len(values), device=values.device)[:, None]
        moved = values[rows, self.places.clamp(max=length - 1).long()]
        if opposite is not None and self.turned is not None:
            order = torch.tensor(opposite, device=values.device)
            if values.dim() == 2:
                other = torch.where(moved < 0, moved, order[moved.clamp(min=0).long()])
            else:
                other = moved.index_select(-1, order)
            moved = torch.where(_spread(self.turned != 0, values), other.to(values.dtype), moved)
        return torch.where(_spread(self.places >= length, values), fill, moved).to(values.dtype)


def _spread(where: Bool[Tensor, "batch _"], values: Tensor) -> Tensor:
    """A mask of positions, to be used on values of positions or of their channels."""
    return where if values.dim() == 2 else where[:, :, None]


@dataclass(frozen=True)
class Chain:
    """Operations one after another.

    Attributes:
        operations: in order; none leave a batch as it is.
    """

    operations: tuple[Operation, ...] = ()

    @cached_property
    def numbers(self) -> int:
        """Random numbers that it needs for each sequence: those of its operations, in order."""
        return sum(operation.numbers for operation in self.operations)

    @cached_property
    def new(self) -> int:
        """Most new letters that it brings into a sequence."""
        return sum(operation.new for operation in self.operations if isinstance(operation, Move))

    @cached_property
    def turns(self) -> bool:
        """Whether it complements letters, which an alphabet must allow."""
        return any(move.turns for move in self.operations if isinstance(move, Move))

    def __call__(
        self,
        inputs: Tokens,
        numbers: Numbers,
        mask: Mask | None = None,
        *,
        alphabet: Alphabet = DNA,
    ) -> View:
        """Make a view of a batch.

        Args:
            inputs: token ids (B, L) without soft bits, or soft rows (B, L, V). Not changed. In
                soft input a row has the letter that it gives more than one half, or the unknown
                one; it decides what is masked or mutated.
            numbers: of `draw_numbers`, `self.numbers` for each sequence, on the CPU or with the
                inputs.
            mask: true at real positions, (B, L); `None` where all are real. A row's padding is all
                on its left or all on its right.
            alphabet: what the ids or columns mean.

        Raises:
            InputError: complements are wanted of an alphabet that has none.
        """
        if self.turns:
            pairing(alphabet)
        host = _on_host(numbers, mask)
        own = numbers.numpy() if host else numbers.to(inputs.device)
        extent = _extent(inputs, mask, self.new, host=host)
        sites, turns, places = self._back(own, extent)
        soft = inputs.is_floating_point()
        letters = named(inputs, alphabet) if soft else _as_bytes(inputs)
        if extent.device is None:
            letters = letters.numpy()
        written = ~under(places, extent.width) if soft else None
        draft = Draft(self._read(letters, places, sites, alphabet), written, alphabet)
        turned = self._change(draft, sites, turns)
        came = tensor(places)
        turned = None if turned is None else tensor(turned)
        return View(
            inputs=_rendered(draft, inputs, came, turned),
            mask=mask,
            targets=None if draft.targets is None else _targets(draft.targets),
            places=came if len(came) == len(inputs) else came.expand(inputs.shape[:2]),
            turned=None if turned is None else turned.neg(),
        )

    def _back(
        self, numbers: Whole, extent: Extent
    ) -> tuple[list[Site], list[Turned | None], Places]:
        """Ask the operations for the places of letters, the last one first.

        Returns:
            For each operation the site at which it works and what it complements, and the places
            of the letters in the input.
        """
        places = _columns(extent.width, extent.kind, extent.device)
        sites: list[Site] = []
        turns: list[Turned | None] = []
        last, base, grown = numbers.shape[1], extent.width + self.new, False
        for operation in reversed(self.operations):
            first = last - operation.numbers
            turned, site = None, Site(places, numbers[:, first:last], extent, grown)
            if isinstance(operation, Move):
                base -= operation.new
                site.base = base
                places, turned = operation.back(site)
                grown = grown or operation.new > 0
            sites.append(site)
            turns.append(turned)
            last = first
        return sites[::-1], turns[::-1], places

    def _read(
        self, letters: Letters, places: Places, sites: list[Site], alphabet: Alphabet
    ) -> Letters:
        """The letters of the places, new ones too, read once."""
        if len(places) < len(letters):  # nothing moved
            return letters
        table = [letters]
        for operation, site in zip(self.operations, sites, strict=True):
            if isinstance(operation, Move) and operation.new:
                new = new_letters(site.numbers[:, 2:], operation.new, alphabet)
                table.append(site.extent.batch(cast(new, "int8")))
        return taken(beside(table) if len(table) > 1 else letters, places)

    def _change(self, draft: Draft, sites: list[Site], turns: list[Turned | None]) -> Turned | None:
        """Make the changes in order, complements in between, and give all complements together."""
        turned = pending = None
        for operation, site, turn in zip(self.operations, sites, turns, strict=True):
            if isinstance(operation, Change):
                draft.turn(pending)
                pending = None
                operation.change(draft, site)
            elif turn is not None:
                pending = turn if pending is None else pending ^ turn
                turned = turn if turned is None else turned ^ turn
        draft.turn(pending)
        return turned


@lru_cache(maxsize=64)
def _columns(width: int, kind: NumberType, device: torch.device | None) -> Places:
    columns = np.arange(width, dtype=kind)[None]
    return columns if device is None else torch.from_numpy(columns).to(device)


def _as_bytes(ids: Integer[Tensor, "batch length"]) -> Int8[Tensor, "batch length"]:
    return ids.view(torch.int8) if ids.dtype == torch.uint8 else ids.to(torch.int8)


def _on_host(numbers: Numbers, mask: Mask | None) -> bool:
    """Whether all that stretches are drawn from is on the host."""
    return numbers.device.type == "cpu" and (mask is None or mask.device.type == "cpu")


def _in_memory(inputs: Tokens) -> bool:
    """Whether the batch is on the host too, where places are then computed."""
    return inputs.device.type == "cpu"


def _extent(inputs: Tokens, mask: Mask | None, new: int, *, host: bool) -> Extent:
    """Where the sequences lie, told by arrays of the host or by tensors."""
    width = inputs.shape[1]
    kind: NumberType = "int16" if width + 2 * new < 2**15 else "int32"
    device = None if host and _in_memory(inputs) else inputs.device
    if mask is None:
        return Extent(0, width, width, real=None, kind=kind, device=device)
    first: Whole
    if host:
        at = mask.numpy()
        first = at.argmax(1)[:, None]
        end = np.where(at[:, -1:], width, at.argmin(1)[:, None])
    else:
        size = mask.sum(1, keepdim=True)
        first = (width - size) * ~mask[:, :1]
        end = first + size
    real = mask if device is None else mask.to(device)
    at_letters = -cast(real.numpy().view(np.int8) if device is None else real, kind)
    return Extent(first, end, width, real=at_letters, kind=kind, device=device)


def _targets(targets: Letters) -> Int16[Tensor, "batch length"]:
    return tensor(cast(select(under(targets, NO_TARGET), targets, IGNORE), "int16"))


def _rendered(
    draft: Draft,
    inputs: Tokens,
    places: Integer[Tensor, "#batch length"],
    turned: Integer[Tensor, "batch _"] | None,
) -> Tokens:
    """What the network gets: ids, or soft rows."""
    ids = tensor(draft.letters)
    if inputs.is_floating_point():
        found = _soft_rows(draft, inputs, places, turned)
    elif draft.noise is None:
        return ids.view(torch.uint8) if inputs.dtype == torch.uint8 else ids.to(inputs.dtype)
    else:
        rows = _letter_rows(draft.alphabet, torch.float32, ids.device)
        found = rows.index_select(0, ids.int().view(-1))
    found = found.view(*ids.shape, draft.alphabet.size)
    return found if draft.noise is None else found.add_(draft.noise)


def _letter_rows(
    alphabet: Alphabet, kind: torch.dtype, device: torch.device
) -> Float[Tensor, "ids letters"]:
    """The soft row of every id of an alphabet."""
    ids = torch.arange(len(alphabet.vocabulary), device=device)
    return one_hot(ids[None], alphabet.size, kind)[0]


def _soft_rows(
    draft: Draft,
    inputs: Tokens,
    places: Integer[Tensor, "#batch length"],
    turned: Integer[Tensor, "batch _"] | None,
) -> Float[Tensor, "positions letters"]:
    """Rows given, and those of letters that were written, all read from one table."""
    assert draft.written is not None
    size, (rows, width) = draft.alphabet.size, inputs.shape[:2]
    tables = [inputs]
    starts = torch.arange(0, rows * width, width, dtype=torch.int32, device=inputs.device)
    index = places.clamp(max=width - 1) + starts[:, None]
    if turned is not None:
        tables.append(complemented_columns(inputs, draft.alphabet))
        index = index + (turned.to(torch.int32) & (rows * width))
    letters = tensor(draft.letters).to(torch.int32) + len(tables) * rows * width
    index = select(tensor(draft.written).to(torch.int32), letters, index)
    tables.append(_letter_rows(draft.alphabet, inputs.dtype, inputs.device))
    table = torch.cat([part.reshape(-1, size) for part in tables])
    return table.index_select(0, index.view(-1))
