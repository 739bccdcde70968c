"""Features at hidden positions equal those of a full pass for each."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from helicon.alphabet import PROTEIN
from helicon.models.bytenet import substitutions as bytenet_sites
from helicon.models.bytenet.network import ByteNet, ByteNetConfig
from helicon.models.bytenet.substitutions import Cone
from helicon.models.parts.backbone import Backbone

CONFIGS = {
    "as published, narrow": {"blocks": 16},
    "wide inside": {"slim": False},
    "relu": {"activation": "relu"},
    "kernel 3": {"kernel": 3},
    "kernel 7": {"kernel": 7, "blocks": 5},
    "kernel 1": {"kernel": 1},
    "part of a cycle": {"blocks": 10, "max_dilation": 32},
    "one dilation": {"max_dilation": 1},
    "one block": {"blocks": 1},
    "blank padding": {"blank": "pad"},
}


@functools.cache
def network(name: str, dtype: torch.dtype = torch.float64) -> ByteNet:
    torch.manual_seed(1)
    config = {"d_model": 8, "blocks": 6, "slim": True, "max_dilation": 128, **CONFIGS[name]}
    made = ByteNet(ByteNetConfig(**config)).eval().to(dtype).requires_grad_(False)
    for value in made.parameters():
        value += 0.1 * torch.randn_like(value)
    return made


def letters(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randint(0, PROTEIN.size, (length,), generator=generator)


def sites(length: int, count: int = 7) -> Tensor:
    """Both ends, one twice, and some between, in no order."""
    generator = torch.Generator().manual_seed(length)
    found = torch.randint(0, length, (count + 4,), generator=generator)
    found[:4] = torch.tensor([length - 1, 0, length // 2, length // 2])
    return found


def found_at(net: ByteNet, x: Tensor, positions: Tensor, letter: int) -> Tensor:
    how = net.substitutions()
    tokens = torch.full((len(positions), 1), letter)
    return how.of(how.reference(x), positions, tokens, "substituted").features[:, 0]


def full(net: Backbone, x: Tensor, positions: Tensor, letter: int) -> Tensor:
    rows = []
    for position in positions:
        changed = x.clone()
        changed[position] = letter
        rows.append(net(changed[None])[0, position])
    return torch.stack(rows)


@pytest.mark.parametrize("length", [1, 2, 5, 40, 300, 2500])
@pytest.mark.parametrize("name", CONFIGS)
def test_they_are_those_of_full_passes(name, length):
    net, x, positions = network(name), letters(length), sites(length)
    for letter in (PROTEIN.mask_id, 3):
        found = found_at(net, x, positions, letter)
        torch.testing.assert_close(found, full(net, x, positions, letter), atol=1e-10, rtol=0)


def test_in_float32_to_rounding():
    net, x = network("as published, narrow", torch.float32), letters(120)
    everywhere = torch.arange(120)
    found = found_at(net, x, everywhere, PROTEIN.mask_id)
    wanted = full(net, x, everywhere, PROTEIN.mask_id)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_pieces_and_batches_change_nothing(monkeypatch):
    net, x = network("as published, narrow"), letters(700)
    positions = torch.arange(0, 700, 23)
    whole = found_at(net, x, positions, PROTEIN.mask_id)
    monkeypatch.setattr(bytenet_sites, "KEPT", 0)
    monkeypatch.setattr(bytenet_sites, "CPU_ROWS", 2000)
    monkeypatch.setattr(bytenet_sites, "CPU_PART", 8 * 64)
    pieces = found_at(net, x, positions, PROTEIN.mask_id)
    torch.testing.assert_close(pieces, whole, atol=1e-12, rtol=0)


def test_only_what_matters_is_computed():
    cone = Cone.of(tuple([2**i for i in range(8)] * 2), 5)
    assert [len(o) for o in cone.offsets] == [
        *(1, 5, 13, 29, 61, 125, 253, 509, 1021), *(509, 253, 125, 61, 29, 13, 5, 1)
    ]  # fmt: skip
    assert cone.reach == 1020


def test_bfloat16_stays_near():
    net, x, positions = network("as published, narrow", torch.float32), letters(60), sites(60)
    with torch.autocast("cpu", torch.bfloat16):
        found = found_at(net, x, positions, PROTEIN.mask_id)
    assert found.dtype == torch.float32
    wanted = full(net, x, positions, PROTEIN.mask_id)
    assert (found - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_every_site_may_have_a_letter_of_its_own():
    net, x, positions = network("as published, narrow"), letters(90), sites(90)
    tokens = torch.arange(len(positions))
    how = net.substitutions()
    found = how.of(how.reference(x), positions, tokens[:, None], "substituted").features[:, 0]
    pairs = zip(positions, tokens.tolist(), strict=True)
    wanted = torch.cat([full(net, x, at[None], letter) for at, letter in pairs])
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("where", ["affected", "substituted"])
def test_longer_stretches_and_all_that_they_affect(where):
    net, x = network("kernel 3"), letters(60)
    how = net.substitutions()
    changed = how.of(how.reference(x), torch.tensor([20]), torch.tensor([[1, 2]]), where)
    whole = x.clone()
    whole[20:22] = torch.tensor([1, 2])
    inside = changed.valid[0]
    wanted = net(whole[None])[0, changed.places[0][inside]]
    torch.testing.assert_close(changed.features[0][inside], wanted, atol=1e-10, rtol=0)
