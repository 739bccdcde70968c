"""Blank tokens behind a sequence, whose outputs stand for the whole of it (CLS tokens).

FinDNA puts K of them behind each sequence. They carry no letter: to a network they look like hidden
letters, and what comes out at them is made from the sequence alone.
"""

from __future__ import annotations

import torch
from jaxtyping import Integer
from torch import Tensor

from helicon.alphabet import Alphabet
from helicon.models.parts.backbone import Features, Mask, Tokens, one_hot


def with_blanks(
    x: Tokens, mask: Mask | None, count: int, alphabet: Alphabet
) -> tuple[Tokens, Mask | None, Integer[Tensor, "batch count"]]:
    """Put blank tokens behind the last letter of every sequence.

    Args:
        x: token ids (B, L), or soft rows (B, L, V).
        mask: true at real positions, (B, L), which are next to each other; `None` where all are.
        count: blank tokens of a sequence.
        alphabet: what the ids or columns mean.

    Returns:
        The sequences, `count` positions wider: blank tokens are the mask symbol, or its soft row.
        They stand before padding that is behind the sequence. Then the mask, in which they are
        real; and their columns (B, count), for `at_blanks`.
    """
    blank = _blank(x, alphabet)
    longer = torch.cat([x, blank.expand(len(x), count, *x.shape[2:])], dim=1)
    steps = torch.arange(count, device=x.device)
    if mask is None:
        return longer, None, (x.shape[1] + steps).expand(len(x), count)
    column = torch.arange(longer.shape[1], device=x.device)
    end = (column[: x.shape[1]] * mask).amax(1, keepdim=True) + 1
    columns = end + steps
    blanks = (column >= end) & (column < end + count)
    where = blanks if x.ndim == 2 else blanks[:, :, None]
    grown = torch.cat([mask, mask.new_zeros(len(x), count)], dim=1)
    return torch.where(where, blank, longer), grown | blanks, columns


def made_up(
    x: Tokens, mask: Mask | None, length: int, alphabet: Alphabet
) -> tuple[Tokens, Mask | None]:
    """Follow shorter sequences by blank tokens, so that each has `length` real positions or more.

    Args:
        x: token ids (B, L), or soft rows (B, L, V).
        mask: true at real positions, (B, L); `None` where all are.
        length: 0 for none.
        alphabet: what the ids or columns mean.

    Returns:
        The sequences and their mask, as many columns wider as the shortest one needs.
    """
    if not length or not len(x):
        return x, mask
    if mask is None:
        count = max(0, length - x.shape[1])
    else:
        short = (length - mask.sum(1, keepdim=True)).clamp(min=0)
        count = int(short.max())
        mask = torch.cat([mask, torch.arange(count, device=x.device) < short], dim=1)
    blank = _blank(x, alphabet).expand(len(x), count, *x.shape[2:])
    return torch.cat([x, blank], dim=1) if count else x, mask


def _blank(x: Tokens, alphabet: Alphabet) -> Tokens:
    """The blank token: the mask symbol, or its soft row."""
    symbol = torch.tensor([[alphabet.mask_id]], device=x.device)
    return one_hot(symbol, alphabet.size, x.dtype) if x.is_floating_point() else symbol.to(x.dtype)


def at_blanks(features: Features, columns: Integer[Tensor, "batch count"]) -> Features:
    """Features of the blank tokens, (B, count, D), of those of all positions."""
    return features.gather(1, columns[:, :, None].expand(-1, -1, features.shape[2]))
