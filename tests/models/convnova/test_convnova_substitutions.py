"""Features after substitutions equal those of a full pass over the changed sequence."""

from __future__ import annotations

import functools

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from helicon.alphabet import DNA
from helicon.models.convnova import substitutions as convnova_substitutions
from helicon.models.convnova.network import ConvNova, ConvNovaConfig
from helicon.models.convnova.substitutions import ConvNovaSubstitutions, Spread, Transform, hops
from helicon.models.parts.substitutions import Changed, Cropped, Reference, Substitutions, Where

CONFIGS = {
    "published": {},
    "single gate": {"gate": "single"},
    "no gate": {"gate": "none"},
    "no feed-forward": {"feed_forward": False},
    "final convolutions": {"final_conv": True},
    "stacks": {"stacks": 2, "blocks": 3},
    "paper's dilations": {"schedule": "paper"},
    "mask reads as N": {"mask_reads_as": "N"},
    "gaps between the changed positions": {"dilation": 40},
    "kernel 3": {"kernel": 3, "blocks": 5, "dilation": 3},
    "kernel 1": {"kernel": 1, "mlp_ratio": 1},
    "one block": {"blocks": 1},
    "cells": {"downsample": True, "dilation": 2},
    "other strand": {"branch": "reverse_complement"},
    "other strand, unread": {"branch": "reverse_complement", "gate": "single"},
}
WHERE: tuple[Where, ...] = ("affected", "substituted")


@functools.cache
def network(name: str = "published", dtype: torch.dtype = torch.float64) -> ConvNova:
    torch.manual_seed(1)
    config = ConvNovaConfig(**{"d_model": 8, "blocks": 4, **CONFIGS[name]})
    made = ConvNova(config).eval().to(dtype).requires_grad_(False)
    for value in made.parameters():
        value += 0.1 * torch.randn_like(value)
    return made


def letters(length: int, seed: int = 0) -> Tensor:
    """Letters with a run of N, and some that are masked."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 4, (length,), generator=generator)
    ids[length // 3 : length // 3 + 5] = DNA.letters.index("N")
    ids[:: max(5, length // 4)] = DNA.mask_id
    return ids


def substitutions(length: int, width: int, n: int = 9) -> tuple[Tensor, Tensor]:
    """Substitutions at both ends, and at random; by letters, N and the mask."""
    generator = torch.Generator().manual_seed(length + width)
    positions = torch.randint(0, length - width + 1, (n,), generator=generator)
    positions[:2] = torch.tensor([0, length - width])
    return positions, torch.randint(0, DNA.mask_id + 1, (n, width), generator=generator)


def largest_error(
    net: ConvNova, how: Substitutions, ids: Tensor, positions: Tensor, tokens: Tensor, where: Where
) -> float:
    """Against a full pass over each changed sequence, what is said not to change included."""
    reference = how.reference(ids)
    changed = how.of(reference, positions, tokens, where)
    errors = [(reference.features - net(ids[None])[0]).abs().max()]
    for row, (position, new) in enumerate(zip(positions, tokens, strict=True)):
        whole = ids.clone()
        whole[position : position + len(new)] = new
        full = net(whole[None])[0]
        found = reference.features.clone() if where == "affected" else full.clone()
        inside = changed.valid[row]
        found[changed.places[row][inside]] = changed.features[row][inside]
        errors.append((found - full).abs().max())
    return float(torch.stack(errors).max())


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_equal_to_a_full_pass(name: str, width: int, where: Where):
    net = network(name)
    for length in (5, 40, 230):  # two are shorter than the receptive field
        where_to = substitutions(length, width)
        assert largest_error(net, net.substitutions(), letters(length), *where_to, where) < 1e-11


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", CONFIGS)
def test_equal_in_float32_with_fewer_products(name: str, where: Where):
    net = network(name, torch.float32)
    error = largest_error(net, net.substitutions(), letters(300), *substitutions(300, 1), where)
    assert error < 5e-5  # of features of about 5, normalised over 8 channels


def test_window_around_the_substitution_is_enough():
    net = network()
    for where in WHERE:
        how = Cropped(net, net.receptive_field, channels=8)
        assert largest_error(net, how, letters(400), *substitutions(400, 3), where) < 1e-11


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25, deadline=None)
def test_equal_at_any_position(data: st.DataObject):
    name = data.draw(st.sampled_from(["published", "no gate", "cells", "kernel 3"]))
    length = data.draw(st.integers(1, 160))
    width = data.draw(st.integers(1, min(4, length)))
    positions = data.draw(st.lists(st.integers(0, length - width), min_size=1, max_size=3))
    tokens = data.draw(
        st.lists(
            st.integers(0, 6), min_size=len(positions) * width, max_size=len(positions) * width
        )
    )
    where = data.draw(st.sampled_from(WHERE))
    net = network(name)
    ids = letters(length, data.draw(st.integers(0, 3)))
    placed = torch.tensor(positions), torch.tensor(tokens).view(-1, width)
    assert largest_error(net, net.substitutions(), ids, *placed, where) < 1e-11


def test_span_is_the_receptive_field():
    net = network()
    field = net.receptive_field
    how = net.substitutions()
    reference = how.reference(letters(50))
    changed = how.of(reference, torch.tensor([20]), torch.tensor([[1, 2]]))
    assert changed.features.shape == (1, field + 1, 8)
    assert changed.start.tolist() == [20 - field // 2]
    assert changed.valid.sum() == 50
    own = how.of(reference, torch.tensor([20]), torch.tensor([[1, 2]]), "substituted")
    assert own.places.tolist() == [[20, 21]]


def test_network_that_sees_everything_gives_the_whole_sequence():
    net = network("other strand")
    how = net.substitutions()
    assert isinstance(how, Cropped)
    changed = how.of(how.reference(letters(50)), torch.tensor([20]), torch.tensor([[1]]))
    assert changed.start.tolist() == [0]
    assert changed.valid.all()
    assert changed.features.shape == (1, 50, 8)


def test_published_network_follows_the_layers():
    first, plan = hops([1, 1, 1, 4, 16], 9, 9, 1, "affected")
    assert [len(first), *(len(hop.outputs) for hop in plan)] == [9, 17, 25, 33, 65, 193]
    assert all(hop.dense for hop in plan)
    _, plan = hops([1, 1, 1, 4, 16], 9, 9, 1, "substituted")
    assert [len(hop.outputs) for hop in plan] == [17, 25, 9, 5, 1]
    assert isinstance(network().substitutions(), ConvNovaSubstitutions)


@pytest.mark.parametrize(("inputs", "taps"), [(1, 1), (1, 9), (4, 3), (5, 9), (9, 9), (17, 9)])
def test_transform_is_a_convolution(inputs: int, taps: int):
    how = Transform.of(inputs, taps)
    x, w = torch.randn(inputs, 3), torch.randn(taps)
    found = how.synthesis @ ((how.filter @ w)[:, None] * (how.analysis @ x))
    padded = torch.nn.functional.pad(x.T[:, None], (taps - 1, taps - 1))
    expected = torch.nn.functional.conv1d(padded, w[None, None])[:, 0].T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_transformed_convolution_equals_the_plain_one():
    conv = torch.nn.Conv1d(3, 4, 9, dilation=4).requires_grad_(False)
    _, plan = hops([1, 4], 9, 9, 1, "affected")
    hop = plan[1]
    difference = torch.randn(len(hop.inputs), 5, 3)
    plain = torch.randn(len(hop.outputs), 5, 4)
    fast = torch.cat([plain, torch.zeros(3, 5, 4)])
    Spread(conv).add(plain, difference, hop)
    padded = torch.cat([difference, torch.zeros(3, 5, 3)])  # 17 inputs on a grid of 4 x 5
    Spread(conv).add_transformed(fast, padded, hop)
    torch.testing.assert_close(fast[: len(plain)], plain, atol=1e-5, rtol=1e-5)


def test_parts_that_are_worked_on_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch):
    net = network(dtype=torch.float32)
    monkeypatch.setattr(convnova_substitutions, "AT_ONCE", 700)
    error = largest_error(
        net, net.substitutions(), letters(200), *substitutions(200, 1), "affected"
    )
    assert error < 5e-5


def test_a_reference_serves_many_calls():
    how = network().substitutions()
    reference: Reference = how.reference(letters(120))
    kept = reference.features.clone()
    where_to = substitutions(120, 1)
    first: Changed = how.of(reference, *where_to)
    again = how.of(reference, *where_to)
    assert torch.equal(first.features, again.features)
    assert torch.equal(reference.features, kept)


def test_memory_estimate_is_of_the_right_size():
    net = network()
    how = net.substitutions()
    one = how.bytes_each(1000, 1, "affected")
    assert one >= 8 * 4 * net.receptive_field
    assert how.bytes_each(1000, 1, "substituted") < one
    cropped = Cropped(net, net.receptive_field, channels=8)
    assert cropped.bytes_each(100, 1, "affected") < cropped.bytes_each(5000, 1, "affected")
