"""Gradients against differences, integrated gradients against their sum, and tangermeme."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import language_model, sequence_model, token_model

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.mutagenesis.attribution import (
    Quantity,
    channels_first,
    gradient,
    integrated_gradients,
)

MODELS = {"language": language_model, "token": token_model, "sequence": sequence_model}


def network_of(kind: str) -> tuple[Network, Quantity]:
    return Network(MODELS[kind]()), Quantity(None if kind == "language" else 1)


def sequence(length: int = 60) -> np.ndarray:
    ids = np.random.default_rng(2).integers(0, 4, length).astype(np.uint8)
    ids[20:23] = DNA.unknown_id
    return ids


def one_hot(ids: np.ndarray) -> torch.Tensor:
    return torch.eye(DNA.size)[torch.from_numpy(ids.astype(np.int64))]


@pytest.mark.parametrize("kind", MODELS)
def test_gradient_is_the_slope(kind: str):
    network, quantity = network_of(kind)
    network.model.double()
    ids = sequence()
    tokens, letters = network.tokens(ids), one_hot(ids).double()
    # A mean over positions is taken in float32, which small steps would drown in.
    step, tolerance = (0.02, 3e-5) if kind == "sequence" else (1e-4, 1e-6)
    found = gradient_in_double(network, letters, tokens, quantity)
    for position, base in ((0, 1), (21, 0), (40, 3)):
        ends = letters.repeat(2, 1, 1)
        ends[0, position, base] -= step
        ends[1, position, base] += step
        with torch.no_grad():
            low, high = quantity.of(network, ends, tokens)
        assert float(high - low) / (2 * step) == pytest.approx(found[position, base], abs=tolerance)
    network.model.float()
    np.testing.assert_allclose(gradient(network, ids, quantity), found, atol=1e-4)


def gradient_in_double(
    network: Network, letters: torch.Tensor, tokens: torch.Tensor, quantity: Quantity
) -> np.ndarray:
    letters = letters[None].clone().requires_grad_()
    total = quantity.of(network, letters, tokens).sum()
    return torch.autograd.grad(total, letters)[0][0, :, :4].numpy()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("baseline", ["uniform", "blank"])
def test_integrated_gradients_sum_to_the_change(kind: str, baseline: str):
    network, quantity = network_of(kind)
    ids = sequence()
    found = integrated_gradients(network, ids, quantity, baseline=baseline, steps=300)
    assert found.attributions.sum() == pytest.approx(found.change, rel=0.02, abs=0.02)
    assert (found.attributions[ids == DNA.unknown_id] == 0).all()


def test_one_step_is_the_gradient_half_way():
    network, quantity = network_of("sequence")
    ids = sequence()[:20]
    tokens, end = network.tokens(ids), one_hot(ids)
    half = (end + torch.tensor([0.25] * 4 + [0.0])) / 2
    expected = gradient_in_double(network, half, tokens, quantity)
    found = integrated_gradients(network, ids, quantity, steps=1)
    np.testing.assert_allclose(found.gradient, expected, atol=1e-5)
    with pytest.raises(InputError, match="steps"):
        integrated_gradients(network, ids, quantity, steps=0)


def test_kept_positions_alone_count():
    network, _ = network_of("token")
    ids = sequence()
    found = gradient(network, ids, Quantity(0, slice(0, 1)))
    assert np.abs(found[: network.halo + 1]).max() > 0
    assert (found[network.halo + 1 :] == 0).all()


# ---------------------------------------------------------------- tangermeme


def channels(ids: np.ndarray) -> torch.Tensor:
    return one_hot(ids)[:, :4].T[None].contiguous()


@pytest.mark.parametrize("kind", MODELS)
def test_channels_first_gives_the_models_outputs(kind: str):
    network, _ = network_of(kind)
    ids = sequence()
    ids[20:23] = 0
    found = channels_first(network)(channels(ids)).detach().numpy()[0]
    logits = network.logits(ids[None])[0]
    if kind == "sequence":
        expected = logits
    elif kind == "token":
        expected = logits.mean(0)
    else:
        log_p = torch.from_numpy(logits[:, :4]).log_softmax(-1)
        expected = log_p.gather(1, torch.from_numpy(ids.astype(np.int64))[:, None]).mean()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_output_can_be_chosen():
    network, _ = network_of("token")
    x = channels(sequence())
    chosen, every = channels_first(network, "reverse")(x), channels_first(network)(x)
    assert torch.equal(chosen, every[:, [2]])
    with pytest.raises(InputError, match="exon"):
        channels_first(network, "exon")
    with pytest.raises(InputError, match="labels: none"):
        channels_first(Network(language_model()), "A")


def test_rows_of_zeros_are_blank():
    network, _ = network_of("sequence")
    ids = sequence()
    hidden = np.where(ids == DNA.unknown_id, DNA.mask_id, ids).astype(np.uint8)
    found = channels_first(network)(channels(ids)).detach().numpy()
    np.testing.assert_allclose(found, network.logits(hidden[None]), atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_tangermeme_takes_the_model(kind: str):
    pytest.importorskip("tangermeme")
    from tangermeme.marginalize import marginalize
    from tangermeme.predict import predict
    from tangermeme.saliency import saliency
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    network, _ = network_of(kind)
    model, ids = channels_first(network), sequence(40)
    ids[20:23] = 1
    x = channels(ids)
    before = predict(model, x, device="cpu")
    torch.testing.assert_close(before, model(x).detach())
    raw = saturation_mutagenesis(model, x, raw_outputs=True, device="cpu")
    changed = ids.copy()
    changed[7] = 3
    expected = model(channels(changed)).detach()[0]
    torch.testing.assert_close(raw.y_hat[0, 3, 7], expected, atol=1e-5, rtol=1e-4)
    assert saliency(model, x, device="cpu").shape == x.shape
    assert marginalize(model, x, "TGACTCA", device="cpu") is not None
