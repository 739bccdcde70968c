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
from helicon.models.convnova.network import ConvNova, ConvNovaConfig
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


def full(net: Backbone, x: Tensor, positions: Tensor, letter: int, layer: int | None) -> Tensor:
    rows = []
    for position in positions:
        changed = x.clone()
        changed[position] = letter
        rows.append(net(changed[None], None, layer)[0, position])
    return torch.stack(rows)


@pytest.mark.parametrize("length", [1, 2, 5, 40, 300, 2500])
@pytest.mark.parametrize("name", CONFIGS)
def test_they_are_those_of_full_passes(name, length):
    net, x, positions = network(name), letters(length), sites(length)
    for letter in (PROTEIN.mask_id, 3):
        found = net.at_sites(x, positions, letter)
        torch.testing.assert_close(found, full(net, x, positions, letter, None), atol=1e-10, rtol=0)


@pytest.mark.parametrize("layer", [0, 1, 7, 16])
def test_of_every_layer(layer):
    net, x = network("as published, narrow"), letters(90)
    found = net.at_sites(x, sites(90), PROTEIN.mask_id, layer)
    wanted = full(net, x, sites(90), PROTEIN.mask_id, layer)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_in_float32_to_rounding():
    net, x = network("as published, narrow", torch.float32), letters(120)
    everywhere = torch.arange(120)
    found = net.at_sites(x, everywhere, PROTEIN.mask_id)
    wanted = full(net, x, everywhere, PROTEIN.mask_id, None)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_pieces_and_batches_change_nothing(monkeypatch):
    net, x = network("as published, narrow"), letters(700)
    positions = torch.arange(0, 700, 23)
    whole = net.at_sites(x, positions, PROTEIN.mask_id)
    monkeypatch.setattr(bytenet_sites, "KEPT", 0)
    monkeypatch.setattr(bytenet_sites, "CPU_ROWS", 2000)
    monkeypatch.setattr(bytenet_sites, "CPU_PART", 8 * 64)
    pieces = net.at_sites(x, positions, PROTEIN.mask_id)
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
        found = net.at_sites(x, positions, PROTEIN.mask_id)
    assert found.dtype == torch.float32
    wanted = full(net, x, positions, PROTEIN.mask_id, None)
    assert (found - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_any_architecture_has_its_way(monkeypatch):
    monkeypatch.setattr("helicon.models.parts.backbone._LETTERS", 100)
    net = ConvNova(ConvNovaConfig(d_model=8, blocks=2)).eval().requires_grad_(False)
    x = letters(60) % 4
    found = net.at_sites(x, sites(60), 5, 1)
    torch.testing.assert_close(found, full(net, x, sites(60), 5, 1), atol=1e-5, rtol=0)
