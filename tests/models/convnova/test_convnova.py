import dataclasses
from typing import Any

import pytest
import torch
from reaching import reach

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models.convnova import network as convnova
from helicon.models.convnova.network import ConvNova, ConvNovaConfig

#: Every option that changes how positions see each other, on a network small enough to test.
SMALL: dict[str, Any] = {"d_model": 4, "blocks": 4, "kernel": 3, "dilation": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "official": {},
    "paper": {"schedule": "paper"},
    "dilation-3": {"dilation": 3, "kernel": 5},
    "kernel-9": {"kernel": 9, "blocks": 5},
    "stacks": {"stacks": 2, "schedule": "paper"},
    "no-feed-forward": {"feed_forward": False},
    "final-conv": {"final_conv": True, "mlp_ratio": 3},
    "single-gate": {"gate": "single"},
    "no-gate": {"gate": "none", "schedule": "paper"},
    "downsample": {"downsample": True},
    "downsample-paper-3": {"downsample": True, "schedule": "paper", "dilation": 3},
    "downsample-single-gate": {"downsample": True, "gate": "single"},
    "downsample-stacks": {"downsample": True, "stacks": 2},
    "N-mask": {"mask_reads_as": "N"},
}
GLOBAL: dict[str, dict[str, Any]] = {
    "reverse-complement": {"branch": "reverse_complement"},
    "reverse-complement-downsample": {"branch": "reverse_complement", "downsample": True},
}


def network(options: dict[str, Any], dtype: torch.dtype = torch.float32) -> ConvNova:
    """A small network with every parameter random, norms and biases included."""
    torch.manual_seed(0)
    model = ConvNova(ConvNovaConfig(**SMALL | options)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def bases(batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, 4, (batch, length))


BASE = {"feed_forward": False}


@pytest.mark.parametrize(
    ("options", "head", "count"),
    [
        ({}, True, 1_772_933),
        (BASE, True, 1_689_093),
        (BASE, False, 1_688_448),
        (BASE | {"d_model": 64, "kernel": 5, "mlp_ratio": 4}, False, 377_920),
        ({"d_model": 64, "kernel": 5, "mlp_ratio": 4}, False, 399_360),
        (BASE | {"d_model": 64, "mlp_ratio": 4}, False, 541_760),
        (BASE | {"d_model": 64}, False, 426_432),
        (BASE | {"stacks": 2}, False, 3_166_848),
        (BASE | {"d_model": 256}, False, 6_719_232),
        (BASE | {"d_model": 256, "blocks": 10}, False, 12_625_152),
        (BASE | {"d_model": 512}, False, 26_807_808),
    ],
)
def test_parameter_counts_are_the_published_code_s(options: dict[str, Any], head: bool, count: int):
    with torch.device("meta"):
        model = ConvNova(ConvNovaConfig(**options))
    assert model.parameter_count + head * (model.d_model + 1) * DNA.size == count


@pytest.mark.parametrize(
    ("dilation", "schedule", "dilations", "field"),
    [
        (1, "official", [1, 1, 1, 1, 1], 49),
        (2, "official", [1, 1, 1, 2, 4], 81),
        (3, "official", [1, 1, 1, 3, 9], 129),
        (4, "official", [1, 1, 1, 4, 16], 193),
        (1, "paper", [1, 1, 1, 1, 1], 49),
        (2, "paper", [1, 1, 2, 4, 8], 137),
        (3, "paper", [1, 1, 3, 9, 27], 337),
        (4, "paper", [1, 1, 4, 16, 64], 697),
    ],
)
def test_dilations_and_receptive_fields_of_the_facts(
    dilation: int, schedule: Any, dilations: list[int], field: int
):
    config = ConvNovaConfig(d_model=2, dilation=dilation, schedule=schedule)
    assert config.dilations == dilations
    assert ConvNova(config).receptive_field == field


def test_ten_blocks_reach_the_cap():
    config = ConvNovaConfig(d_model=2, blocks=10)
    assert config.dilations == [1, 1, 1, 4, 16, 64, 256, 1024, 1024, 1024]
    assert ConvNova(config).receptive_field == 27_329


def test_stacks_repeat_each_dilation_and_start_equal():
    model = ConvNova(ConvNovaConfig(d_model=4, stacks=2))
    assert model.config.dilations == [1, 1, 1, 1, 1, 1, 4, 4, 16, 16]
    for first, second in zip(model.blocks[::2], model.blocks[1::2], strict=True):
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a is not b


@pytest.mark.parametrize("name", OPTIONS)
def test_receptive_field_is_exact(name: str):
    model = network(OPTIONS[name], torch.float64)
    assert model.receptive_field == 2 * reach(model) + 1


def test_receptive_field_is_exact_where_the_cap_cuts_a_power(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convnova, "MAX_DILATION", 8)
    model = network({"downsample": True, "schedule": "paper", "dilation": 3}, torch.float64)
    assert model.config.dilations == [1, 1, 3, 8]
    assert model.receptive_field == 2 * reach(model) + 1


@pytest.mark.parametrize("name", GLOBAL)
def test_reverse_complement_branch_sees_the_whole_sequence(name: str):
    model = network(GLOBAL[name], torch.float64)
    assert model.receptive_field is None
    x = bases(1, 300)
    changed = x.clone()
    changed[0, -1] = (x[0, -1] + 1) % 4
    assert (model(x)[0, 0] != model(changed)[0, 0]).any()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("name", OPTIONS | GLOBAL)
def test_padding_never_changes_a_real_position(
    name: str, side: str, dtype: torch.dtype, tolerance: float
):
    model = network((OPTIONS | GLOBAL)[name], dtype)
    lengths, total = [61, 23, 40], 61
    sequences = [bases(1, n) for n in lengths]
    padded = bases(3, total)  # letters where the padding is: the mask alone must hide them
    mask = torch.zeros(3, total, dtype=torch.bool)
    for row, (x, n) in enumerate(zip(sequences, lengths, strict=True)):
        start = {"left": total - n, "right": 0, "both": (total - n) // 2}[side]
        padded[row, start : start + n], mask[row, start : start + n] = x[0], True
    with torch.no_grad():
        out = model(padded, mask)
        for row, x in enumerate(sequences):
            alone = model(x)[0]
            scale = max(1.0, alone.abs().max().item())
            torch.testing.assert_close(out[row][mask[row]], alone, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("name", OPTIONS | GLOBAL)
def test_padding_of_a_soft_one_hot_is_hidden(name: str):
    model = network((OPTIONS | GLOBAL)[name])
    x = torch.rand(1, 30, DNA.size)
    mask = torch.arange(41).unsqueeze(0) < 30
    padded = torch.cat([x, torch.rand(1, 11, DNA.size)], dim=1)
    torch.testing.assert_close(model(padded, mask)[:, :30], model(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OPTIONS | GLOBAL)
def test_a_mask_of_ones_is_no_mask(name: str):
    model = network((OPTIONS | GLOBAL)[name])
    x = bases(2, 37)
    torch.testing.assert_close(model(x, torch.ones(2, 37, dtype=torch.bool)), model(x))


@pytest.mark.parametrize("name", OPTIONS | GLOBAL)
def test_sequences_of_a_batch_do_not_meet(name: str):
    model = network((OPTIONS | GLOBAL)[name])
    x, order = bases(4, 50), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(x[order]), model(x)[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", OPTIONS | GLOBAL)
def test_one_hot_rows_are_ids(name: str):
    model = network((OPTIONS | GLOBAL)[name])
    ids = torch.randint(0, DNA.size, (2, 40))
    rows = torch.nn.functional.one_hot(ids, DNA.size)
    assert torch.equal(model(rows.float()), model(ids))
    assert torch.equal(model(rows.double()), model(ids.to(torch.uint8)))


def test_the_mask_symbol_reads_as_blank_or_as_n():
    ids = bases(1, 40)
    masked, unknown = ids.clone(), ids.clone()
    masked[0, 20], unknown[0, 20] = DNA.mask_id, DNA.letters.index("N")
    blank = torch.nn.functional.one_hot(ids, DNA.size).float()
    blank[0, 20] = 0
    default, as_n = network({}), network({"mask_reads_as": "N"})
    assert torch.equal(default(masked), default(blank))
    assert not torch.equal(default(masked), default(unknown))
    assert torch.equal(as_n(masked), as_n(unknown))


def test_the_second_branch_reads_the_complement_in_place():
    """Against the definition: a stem of its own over `3 - base`, N kept."""
    model = network({})
    ids = torch.randint(0, DNA.size, (2, 40))
    complement = torch.where(ids < 4, 3 - ids, ids)
    rows = torch.nn.functional.one_hot(complement, DNA.size).float()
    a, b = model._stems(torch.nn.functional.one_hot(ids, DNA.size).float(), None)
    torch.testing.assert_close(b, torch.nn.functional.gelu(model.gate_stem(rows)))
    assert a.is_contiguous() and b is not None and b.is_contiguous()


@pytest.mark.parametrize("name", ["official", "reverse-complement"])
def test_no_strand_symmetry_is_promised(name: str):
    """Neither branch makes the network equivariant or invariant under reverse complement."""
    model = network((OPTIONS | GLOBAL)[name])
    x = bases(1, 60)
    opposite = (3 - x).flip(1)
    with torch.no_grad():
        out, other = model(x), model(opposite)
    assert (out - other.flip(1)).abs().max() > 0.01
    assert (out.mean(1) - other.mean(1)).abs().max() > 0.01


def test_dropout_acts_in_training_alone():
    model = network({"dropout": 0.5})
    x = bases(1, 40)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_bfloat16_autocast_is_close():
    model = network({"d_model": 8})
    x = bases(2, 32)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x)
    assert rough.dtype == torch.float32  # products are rounded, the residual stream is not
    assert (rough - exact).abs().max() < 0.02 * exact.abs().max()


def test_runs_on_every_device(device: torch.device):
    for options in (OPTIONS | GLOBAL).values():
        model = network(options)
        x, mask = bases(2, 45), torch.ones(2, 45, dtype=torch.bool)
        mask[0, :7] = False
        wanted = model(x, mask)
        got = model.to(device)(x.to(device), mask.to(device)).cpu()
        torch.testing.assert_close(got[mask], wanted[mask], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"kernel": 4}, {"d_model": 0}, {"blocks": 0}, {"stacks": 0}, {"dropout": 1.0}]
)
def test_wrong_options_are_named(wrong: dict[str, Any]):
    with pytest.raises(InputError, match=next(iter(wrong))):
        ConvNovaConfig(**wrong)


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ConvNovaConfig().d_model = 3  # type: ignore[misc]
