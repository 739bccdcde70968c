"""The Transformer against a plain transcription of its equations, and its promises."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from helicon.alphabet import DNA, PROTEIN
from helicon.errors import InputError
from helicon.models import registry
from helicon.models.hub import untrained
from helicon.models.info import info
from helicon.models.parts.backbone import one_hot
from helicon.models.transformer.network import Transformer, TransformerConfig

SMALL: dict[str, Any] = {"d_model": 12, "blocks": 2, "heads": 3}


def network(
    alphabet: Any = "protein", dtype: torch.dtype = torch.float32, **options: Any
) -> Transformer:
    """A small network with every parameter random, norms and biases included."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(alphabet, **SMALL | options)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def letters(model: Transformer, batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, len(model.alphabet.real), (batch, length))


# ---------------------------------------------------------------- the equations

Array = np.ndarray[Any, np.dtype[np.float64]]


def erf_gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def rotation(position: int, size: int) -> Array:
    """The matrix that turns channels i and i + size / 2 by position / 10000^(2 i / size)."""
    half = size // 2
    matrix = np.zeros((size, size))
    for i in range(half):
        angle = position / 10_000 ** (2 * i / size)
        matrix[i, i] = matrix[i + half, i + half] = math.cos(angle)
        matrix[i, i + half], matrix[i + half, i] = -math.sin(angle), math.sin(angle)
    return matrix


def transcribed(model: Transformer, ids: list[int]) -> list[Array]:
    """The residual stream of one sequence (L, D) after each block, and the output."""
    weights = {key: value.double().numpy() for key, value in model.state_dict().items()}
    d, heads = model.config.d_model, model.config.heads
    size = d // heads
    x = weights["embedding.weight"].T[ids] + weights["embedding.bias"]
    turn = [rotation(position, size) for position in range(len(ids))]
    streams = [x]
    for b in range(model.config.blocks):
        name = f"blocks.{b}"
        q, k, v = np.split(linear(norm(x, weights, f"{name}.norm"), weights, f"{name}.qkv"), 3, -1)
        mixed = np.zeros_like(x)
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            for i in range(len(ids)):
                scores = [turn[i] @ q[i, own] @ (turn[j] @ k[j, own]) for j in range(len(ids))]
                share = np.exp(np.array(scores) / math.sqrt(size))
                mixed[i, own] = share / share.sum() @ v[:, own]
        x = x + linear(mixed, weights, f"{name}.out")
        wide = linear(norm(x, weights, f"{name}.feed_forward.0"), weights, f"{name}.feed_forward.1")
        x = x + linear(erf_gelu(wide), weights, f"{name}.feed_forward.3")
        streams.append(x)
    return [*streams, norm(x, weights, "norm")]


@pytest.mark.parametrize("alphabet", ["dna", "protein"])
def test_it_computes_the_equations(alphabet: str):
    model = network(alphabet, torch.float64)
    ids = letters(model, 1, 23)
    wanted = [torch.from_numpy(x) for x in transcribed(model, ids[0].tolist())]
    with torch.no_grad():
        for layer in range(model.layers + 1):
            torch.testing.assert_close(model(ids, None, layer)[0], wanted[layer])
        # Angles are in float32.
        torch.testing.assert_close(model(ids)[0], wanted[-1], atol=1e-6, rtol=1e-6)


# ---------------------------------------------------------------- promises


@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("alphabet", ["dna", "protein"])
def test_padding_never_changes_a_real_position(alphabet: str, side: str):
    model = network(alphabet)
    lengths, total = [1061, 23, 400], 1061
    sequences = [letters(model, 1, n) for n in lengths]
    padded = letters(model, 3, total)  # letters where the padding is: the mask alone hides them
    mask = torch.zeros(3, total, dtype=torch.bool)
    for row, (x, n) in enumerate(zip(sequences, lengths, strict=True)):
        start = {"left": total - n, "right": 0, "both": (total - n) // 2}[side]
        padded[row, start : start + n], mask[row, start : start + n] = x[0], True
    with torch.no_grad():
        for layer in (None, 1):
            out = model(padded, mask, layer)
            for row, x in enumerate(sequences):
                alone = model(x, None, layer)[0]
                scale = max(1.0, alone.abs().max().item())
                torch.testing.assert_close(out[row][mask[row]], alone, atol=1e-5 * scale, rtol=0)


def test_a_sequence_of_padding_alone_spoils_nothing():
    model = network(dropout=0.0)
    ids = letters(model, 2, 20)
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1] = False
    out = model(ids, mask)
    torch.testing.assert_close(out[0], model(ids[:1])[0])
    out[0].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_attention_sees_distances_alone():
    """A window's attention is the same wherever it stands: positions are relative."""
    model = network(dtype=torch.float64)
    x = letters(model, 1, 40)
    shifted = torch.cat([letters(model, 1, 7), x], dim=1)
    hidden = torch.zeros(1, 47, dtype=torch.bool)
    hidden[0, 7:] = True
    with torch.no_grad():
        torch.testing.assert_close(model(shifted, hidden)[:, 7:], model(x))
        block, stream = model.blocks[0], model._embed(x)
        for offset in (0, 1000):
            angles = rotated(40, 4, offset)
            out = block(stream, angles, None)
            first = out if offset == 0 else first
            torch.testing.assert_close(out, first, atol=1e-4, rtol=0)


def rotated(length: int, size: int, offset: int) -> Any:
    position = torch.arange(length)[None, None, :, None] + offset
    angle = position * 10_000 ** (-torch.arange(0, size, 2) / size)
    return angle.cos(), angle.sin()


def test_order_matters_and_every_position_sees_all():
    model = network()
    assert model.receptive_field is None
    x = letters(model, 1, 300)
    changed = x.clone()
    changed[0, -1] = (x[0, -1] + 1) % 20
    with torch.no_grad():
        assert (model(x)[0, 0] != model(changed)[0, 0]).any()
        assert (model(x.flip(1)).flip(1) - model(x)).abs().max() > 0.01


def test_sequences_of_a_batch_do_not_meet():
    model = network()
    x, order = letters(model, 4, 50), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(x[order]), model(x)[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=lambda a: a.name)
def test_the_alphabet_comes_from_the_config(alphabet: Any):
    model = network(alphabet.name)
    assert model.alphabet is alphabet
    assert model.embedding.in_features == alphabet.size
    ids = torch.randint(0, alphabet.size, (2, 30))
    rows = torch.nn.functional.one_hot(ids, alphabet.size).float()
    torch.testing.assert_close(model(rows), model(ids), atol=1e-5, rtol=0)
    assert torch.equal(model(ids.to(torch.uint8)), model(ids))
    masked = ids.clone()
    masked[0, 5] = alphabet.mask_id
    assert not torch.equal(model(masked), model(ids))
    rows[0, 5] = one_hot(masked, alphabet.size, rows.dtype)[0, 5]  # blank in DNA
    torch.testing.assert_close(model(rows), model(masked), atol=1e-5, rtol=0)


def test_language_models_follow_the_alphabet():
    dna, protein = untrained("transformer-tiny"), untrained("transformer-600k")
    assert (dna.config.alphabet, dna.lm_head.out_features) == ("dna", 5)
    assert (protein.config.alphabet, protein.lm_head.out_features) == ("protein", 30)
    assert (protein.config.mask_token_id, protein.config.vocab_size) == (28, 30)


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("transformer-600k", "carp-600k"),
        ("transformer-38m", "carp-38m"),
        ("transformer-tiny", "convnova-tiny"),
        ("transformer-small", "convnova-small"),
        ("transformer-base", "convnova-base"),
    ],
)
def test_sizes_are_those_of_the_convolutions(name: str, beside: str):
    with torch.device("meta"):
        counts = [registry.backbone(one).parameter_count for one in (name, beside)]
        assert registry.backbone(name).alphabet is registry.backbone(beside).alphabet
    assert counts[0] == pytest.approx(counts[1], rel=0.02)


def test_dropout_acts_in_training_alone():
    model = network(dropout=0.5)
    x = letters(model, 1, 40)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_bfloat16_autocast_keeps_the_residual_stream_in_float32():
    model = network(d_model=48)
    ids = letters(model, 2, 32)
    for x in (ids, torch.nn.functional.one_hot(ids, PROTEIN.size).float()):
        with torch.no_grad():
            exact = model(x)
            with torch.autocast("cpu", torch.bfloat16):
                rough = model(x)
                streams = [model(x, None, layer) for layer in range(model.layers + 1)]
        assert {stream.dtype for stream in [rough, *streams]} == {torch.float32}
        assert (rough - exact).abs().max() < 0.03 * exact.abs().max()
    half = network(d_model=48, dtype=torch.bfloat16)
    assert half(ids).dtype == torch.bfloat16


def test_memory_is_counted_without_a_square_and_work_with_it():
    short, long = (info("transformer-600k", length=length) for length in (1024, 4096))
    assert long.inference_mb - long.weights_mb == pytest.approx(
        4 * (short.inference_mb - short.weights_mb), rel=0.01
    )
    d, blocks = 128, 3
    for found in (short, long):
        products = 12 * d * d * blocks + 2 * 30 * d + 2 * found.length * d * blocks
        assert found.flops_per_letter == 2 * products


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"d_model": 0}, "d_model must be at least 1, not 0"),
        ({"blocks": 0}, "blocks must be at least 1, not 0"),
        ({"heads": 0}, "heads must be at least 1, not 0"),
        ({"d_model": 100, "heads": 3}, "100 is no multiple of 6"),
        ({"d_model": 9, "heads": 3}, "9 is no multiple of 6"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), not -0.1"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=f"^Transformer: .*{said}$"):
        TransformerConfig(**wrong)
    with pytest.raises(InputError, match="alphabet must be 'dna' or 'protein', not 'rna'"):
        registry.configured("transformer-tiny", alphabet="rna")
