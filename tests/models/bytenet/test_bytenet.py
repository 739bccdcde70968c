"""ByteNet against the published counts, the authors' numbers, and its own promises."""

from typing import Any

import pytest
import torch
from carp_files import Tensors, agree, published, real
from reaching import reach

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.models import registry
from helicon.models.bytenet.network import ByteNet, ByteNetConfig
from helicon.models.bytenet.published import CarpLayout
from helicon.models.hub import HeliconForMaskedLM, untrained
from helicon.models.huggingface.classes import HeliconConfig

#: Every option that changes the computation, on networks small enough to test.
SMALL: dict[str, Any] = {"d_model": 8, "blocks": 5, "slim": True, "max_dilation": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "slim": {},
    "fat-relu": {"slim": False, "activation": "relu"},
    "kernel-3": {"kernel": 3, "max_dilation": 8},
    "kernel-1": {"kernel": 1},
    "no-dilation": {"max_dilation": 1},
    "blank-pad": {"blank": "pad"},
    "wide-embedding": {"d_embedding": 11, "dropout": 0.5},
}


def network(options: dict[str, Any], dtype: torch.dtype = torch.float32) -> ByteNet:
    """A small network with every parameter random, norms and biases included."""
    torch.manual_seed(0)
    model = ByteNet(ByteNetConfig(**SMALL | options)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def residues(batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, len(PROTEIN.real), (batch, length))


# ---------------------------------------------------------------- published numbers

COUNTS = {
    "carp-600k": 607_630,
    "carp-38m": 37_889_294,
    "carp-76m": 75_736_334,
    "carp-640m": 642_950_670,
}


def parameters(config: Any) -> int:
    with torch.device("meta"):
        model = HeliconForMaskedLM(HeliconConfig.of(config))
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_published_ones(name: str):
    assert parameters(registry.size(name)) == COUNTS[name]


@pytest.mark.parametrize(
    ("name", "millions"),
    [("carp-600k", 1.86), ("carp-38m", 117.6), ("carp-76m", 235.2), ("carp-640m", 206.9)],
)
def test_the_wrong_slim_flag_gives_other_counts(name: str, millions: float):
    config: Any = registry.size(name)
    wrong = parameters(registry.configured(config, slim=not config.slim))
    assert wrong / 1e6 == pytest.approx(millions, abs=0.06 if millions > 2 else 0.006)


@pytest.mark.parametrize(
    ("name", "field"),
    [("carp-600k", 2041), ("carp-38m", 2041), ("carp-76m", 4081), ("carp-640m", 7141)],
)
def test_receptive_fields_of_the_facts(name: str, field: int):
    with torch.device("meta"):
        assert registry.backbone(name).receptive_field == field


def test_dilations_double_and_begin_again():
    assert ByteNetConfig(blocks=10).dilations == [1, 2, 4, 8, 16, 32, 64, 128, 1, 2]
    assert ByteNetConfig(blocks=5, max_dilation=2).dilations == [1, 2, 1, 2, 1]
    assert ByteNetConfig(blocks=2, max_dilation=1).dilations == [1, 1]


# ---------------------------------------------------------------- parity


@pytest.fixture(scope="module")
def authors() -> tuple[HeliconForMaskedLM, Tensors, torch.Tensor]:
    """The authors' small network, its tensors, and the mask of real positions."""
    checkpoint, tensors = published()
    config = ByteNetConfig(
        d_model=checkpoint["d_model"],
        blocks=checkpoint["n_layers"],
        slim=checkpoint["slim"],
        kernel=checkpoint["kernel_size"],
        max_dilation=checkpoint["r"],
        d_embedding=checkpoint["d_embed"],
        activation=checkpoint["activation"],
    )
    model = HeliconForMaskedLM(HeliconConfig.of(config)).eval()
    layout = CarpLayout()
    ours = {layout.our_name(k): v for k, v in checkpoint["model_state_dict"].items()}
    state = {key: ours[key].view_as(value) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    return model, tensors, real(tensors)


def test_logits_and_every_layer_agree_with_the_authors_code(authors: Any):
    model, tensors, mask = authors
    layers = {k: int(k.rpartition(".")[2]) for k in tensors if k.startswith("representation.")}
    assert model.backbone.layers in layers.values() and len(layers) > 1
    ids = tensors["input_ids"]
    with torch.no_grad():
        assert agree(model(ids, mask).logits[mask], tensors["logits"][mask])
        for key, layer in layers.items():
            assert agree(model.backbone(ids, mask, layer)[mask], tensors[key][mask])
        last = model.backbone(ids, mask, model.backbone.layers)
        assert torch.equal(model.backbone.norm(last), model.backbone(ids, mask))


def test_a_sequence_alone_is_the_sequence_in_the_padded_batch(authors: Any):
    model, tensors, mask = authors
    ids, length = tensors["input_ids"][1], int(mask[1].sum())
    assert length < len(ids)
    with torch.no_grad():
        alone = model(ids[None, :length]).logits[0]
    assert agree(alone, tensors["logits"][1, :length])


# ---------------------------------------------------------------- promises


@pytest.mark.parametrize("name", OPTIONS)
def test_receptive_field_is_exact(name: str):
    model = network(OPTIONS[name], torch.float64)
    assert model.receptive_field == 2 * reach(model) + 1


@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("name", OPTIONS)
def test_padding_never_changes_a_real_position(name: str, side: str):
    model = network(OPTIONS[name], torch.float64)
    lengths, total = [61, 23, 40], 61
    sequences = [residues(1, n) for n in lengths]
    padded = residues(3, total)  # letters where the padding is: the mask alone must hide them
    mask = torch.zeros(3, total, dtype=torch.bool)
    for row, (x, n) in enumerate(zip(sequences, lengths, strict=True)):
        start = {"left": total - n, "right": 0, "both": (total - n) // 2}[side]
        padded[row, start : start + n], mask[row, start : start + n] = x[0], True
    with torch.no_grad():
        for layer in (None, 0, 2, model.layers):
            out = model(padded, mask, layer)
            for row, x in enumerate(sequences):
                alone = model(x, None, layer)[0]
                torch.testing.assert_close(out[row][mask[row]], alone, atol=1e-12, rtol=0)


def test_without_the_mask_padding_is_read():
    model = network({})
    x = residues(1, 30)
    padded = torch.cat([x, torch.full((1, 10), PROTEIN.pad_id)], dim=1)
    assert (model(padded)[:, :30] - model(x)).abs().max() > 0.01


@pytest.mark.parametrize("name", OPTIONS)
def test_one_hot_rows_are_ids(name: str):
    model = network(OPTIONS[name])
    ids = torch.randint(0, PROTEIN.size, (2, 40))
    rows = torch.nn.functional.one_hot(ids, PROTEIN.size)
    assert torch.equal(model(ids.to(torch.uint8)), model(ids))
    torch.testing.assert_close(model(rows.float()), model(ids), atol=1e-6, rtol=0)
    mixed = 0.5 * rows.float() + 0.5 * rows.float().roll(1, 0)
    halves = (model(ids, None, 0) + model(ids.roll(1, 0), None, 0)) / 2
    torch.testing.assert_close(model(mixed, None, 0), halves, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("blank", "row", "other"),
    [("mask", PROTEIN.mask_id, PROTEIN.pad_id), ("pad", PROTEIN.pad_id, PROTEIN.mask_id)],
)
def test_the_blank_row_stays_zero_in_training(blank: Any, row: int, other: int):
    torch.manual_seed(0)
    model = ByteNet(ByteNetConfig(**SMALL, blank=blank))
    assert not model.embedding.weight[row].any() and model.embedding.weight[other].any()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = model.embedding.weight.detach().clone()
    model(torch.arange(PROTEIN.size)[None]).square().sum().backward()
    assert model.embedding.weight.grad is not None
    assert not model.embedding.weight.grad[row].any()
    assert model.embedding.weight.grad[other].any()
    optimizer.step()
    assert not model.embedding.weight[row].any()
    assert (model.embedding.weight != before).any(1).sum() == PROTEIN.size - 1


def test_dropout_acts_in_training_alone():
    model = network({"dropout": 0.5})
    x = residues(1, 40)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_bfloat16_autocast_keeps_the_residual_stream_in_float32():
    model = network({"d_model": 16})
    ids = residues(2, 32)
    for x in (ids, torch.nn.functional.one_hot(ids, PROTEIN.size).float()):
        with torch.no_grad():
            exact = model(x)
            with torch.autocast("cpu", torch.bfloat16):
                rough = model(x)
                streams = [model(x, None, layer) for layer in range(model.layers + 1)]
        assert {stream.dtype for stream in [rough, *streams]} == {torch.float32}
        assert (rough - exact).abs().max() < 0.03 * exact.abs().max()


def test_a_language_model_has_a_head_of_its_own():
    model = untrained("carp-600k")
    assert model.backbone.alphabet is PROTEIN
    assert (model.config.mask_token_id, model.config.pad_token_id) == (28, 27)
    assert model.lm_head.weight.shape == (30, 128)
    assert "lm_head.weight" in dict(model.named_parameters())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kernel": 4}, "kernel must be odd, not 4"),
        ({"d_model": 0}, "d_model must be at least 1, not 0"),
        ({"blocks": 0}, "blocks must be at least 1, not 0"),
        ({"max_dilation": 100}, "max_dilation must be a power of two, not 100"),
        ({"d_model": 7, "slim": True}, "slim halves d_model, which 7 does not allow"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=f"^ByteNet: {said}$"):
        ByteNetConfig(**wrong)
