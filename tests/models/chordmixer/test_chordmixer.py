"""ChordMixer against a plain transcription and the authors' numbers, and its promises."""

import dataclasses
import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from findna_files import OURS, agree, published

from helicon.alphabet import DNA, PROTEIN
from helicon.errors import InputError
from helicon.models import registry
from helicon.models.chordmixer.network import ChordMixer, ChordMixerConfig, Rotation
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM
from helicon.models.info import info, peak_bytes

SMALL: dict[str, Any] = {"group": 3, "groups": 5, "layers": 2, "blocks": 3, "hidden": 16}
NORMS = ["none", "pre", "post"]


def network(dtype: torch.dtype = torch.float32, **options: Any) -> ChordMixer:
    """A small network with every parameter random, norms and biases included."""
    torch.manual_seed(0)
    model = ChordMixer(ChordMixerConfig(**SMALL | options)).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def letters(model: ChordMixer, batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, len(model.alphabet.real), (batch, length))


# ---------------------------------------------------------------- the equations


def shifted(y: torch.Tensor, shift: int, wrap: bool) -> torch.Tensor:
    """Rows of y (L, c) taken from `shift` positions further along."""
    if wrap:
        return torch.roll(y, -shift, 0)
    return torch.cat([y[shift:], torch.zeros(min(shift, len(y)), y.shape[1])])


def transcribed(model: ChordMixer, rows: torch.Tensor) -> list[torch.Tensor]:
    """The residual stream (L, C) of one sequence's rows (L, V) after each layer; the output."""
    weights, config = model.state_dict(), model.config
    width = (config.d_model,)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str, kind: str) -> torch.Tensor:
        if config.norm != kind:
            return x
        return F.layer_norm(x, width, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = linear(rows, "embedding")
    streams = [x]
    for layer in range(config.layers):
        for block in range(config.blocks):
            name = f"encoders.{layer}.{block}"
            y = norm(x, f"{name}.norm", "pre")
            y = linear(F.gelu(linear(y, f"{name}.fc1")), f"{name}.fc2")
            parts = y.split(config.group, dim=1)
            shifts = [0] + [2 ** (g - 1) for g in range(1, config.groups)]
            turned = [shifted(p, s, config.wrap) for p, s in zip(parts, shifts, strict=True)]
            x = norm(x + torch.cat(turned, dim=1), f"{name}.norm", "post")
        streams.append(x)
    return [*streams, norm(x, "norm", "pre")]


@pytest.mark.parametrize("length", [1, 2, 5, 8, 16, 40])
@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_it_computes_the_equations(norm: str, wrap: bool, length: int):
    model = network(norm=norm, wrap=wrap)
    ids = letters(model, 1, length)
    wanted = transcribed(model, F.one_hot(ids[0], 5).float())
    with torch.no_grad():
        for layer in range(model.layers + 1):
            torch.testing.assert_close(model(ids, None, layer)[0], wanted[layer])
        torch.testing.assert_close(model(ids)[0], wanted[-1])


def test_features_and_logits_agree_with_the_authors_code():
    """Without the converter: the weights are put in place here."""
    checkpoint, tensors = published()
    config = ChordMixerConfig(group=4, hidden=64)
    model = HeliconForMaskedLM(HeliconConfig.of(config)).eval()
    keys = list(model.state_dict())
    weights = dict(zip(keys, in_order(checkpoint["Teacher"], keys), strict=True))
    for name in ("lm_head.weight", "lm_head.bias"):
        weights[name] = weights[name][OURS]
    weights["backbone.embedding.weight"] = weights["backbone.embedding.weight"][:, OURS]
    model.load_state_dict(weights)
    rows = tensors["input_soft"][..., OURS]
    with torch.no_grad():
        assert agree(model.backbone(rows), tensors["features"])
        assert agree(model(rows).logits, tensors["logits"][..., OURS])


def in_order(state: dict[str, torch.Tensor], keys: list[str]) -> list[torch.Tensor]:
    blocks, part = "SwanDNA_blocks", "column_transform"
    found = []
    for key in keys:
        name = key.removeprefix("backbone.").replace("lm_head", "linear")
        if name.startswith("encoders"):
            _, layer, block, linear, kind = name.split(".")
            name = f"encoder.{blocks}.{layer}.{blocks}.{block}.{part}.{linear}.{kind}"
        found.append(state[name])
    return found


# ---------------------------------------------------------------- sizes


def test_the_published_size_has_the_published_count():
    with torch.device("meta"):
        model = HeliconForMaskedLM(HeliconConfig.of(registry.size("findna")))
    assert sum(p.numel() for p in model.parameters()) == 12_651_873
    assert model.backbone.d_model == 308
    assert registry.size("chordmixer") == registry.size("findna")
    products = 4 * 10 * 2 * 308 * 512 + 2 * 5 * 308  # blocks; embedding and head
    assert info("findna", length=64).flops_per_letter == 2 * products


@pytest.mark.parametrize(
    ("length", "blocks"),
    [(1, 1), (2, 1), (3, 2), (200, 8), (251, 8), (1010, 10), (1024, 10), (1025, 11), (4776, 13)],
)
def test_blocks_and_groups_follow_from_the_pretraining_length(length: int, blocks: int):
    config = ChordMixerConfig(hidden=8).for_length(length)
    assert (config.blocks, config.groups, config.hidden) == (blocks, blocks + 1, 8)
    assert config.shifts == [0] + [2**g for g in range(blocks)]


def test_they_travel_with_the_model_and_hold_at_any_length():
    config = ChordMixerConfig(group=2, layers=1, hidden=8).for_length(100)
    again = registry.config_from_dict(
        "chordmixer", json.loads(json.dumps(registry.config_to_dict(config)))
    )
    assert again == config
    for length in (20, 100, 1000):
        y = torch.zeros(1, length, config.d_model)
        y[0, 0] = 1  # where the first position of each group goes to
        found = Rotation.of(again, y, None).rotated(y)[0, :, :: config.group].argmax(0)
        assert found.tolist() == [-shift % length for shift in config.shifts]


# ---------------------------------------------------------------- what a position sees


def seen(model: ChordMixer, length: int, position: int) -> list[int]:
    """Positions whose input moves the output at one position, by gradient."""
    rows = F.one_hot(letters(model, 1, length), 5).to(torch.float64).requires_grad_()
    model(rows)[0, position].sum().backward()
    assert rows.grad is not None
    return rows.grad[0].abs().sum(1).nonzero().flatten().tolist()


def test_the_receptive_field_without_the_wrap_is_exact():
    model = network(torch.float64, wrap=False)
    reach = 2 * 3 * 8  # layers, blocks, and the largest of the shifts 0, 1, 2, 4, 8
    assert model.receptive_field == 2 * reach + 1
    found = seen(model, 200, 100)
    assert (found[0], found[-1]) == (100, 100 + reach)
    assert seen(model, 200, 190)[-1] == 199


def test_a_tile_with_its_halo_is_exact_without_the_wrap():
    model = network(wrap=False)
    halo, x = model.receptive_field // 2, letters(model, 1, 400)
    whole = model(x)
    for start, end in ((0, 100), (100, 260), (260, 400)):
        first, last = max(0, start - halo), min(400, end + halo)
        tile = model(x[:, first:last])[:, start - first : end - first]
        torch.testing.assert_close(tile, whole[:, start:end], atol=1e-5, rtol=0)


def test_with_the_wrap_a_position_sees_around_the_end():
    model = network(torch.float64)
    assert model.receptive_field is None
    assert seen(model, 16, 15) == list(range(16))
    reach, length = 2 * 3 * 8, 200
    found = seen(model, length, 190)
    assert 190 in found and (190 + reach) % length in found
    assert all((place - 190) % length <= reach for place in found)


def test_one_layer_of_the_published_kind_sees_everything():
    config = ChordMixerConfig(group=1, layers=1, hidden=8).for_length(50)
    model = ChordMixer(config).double()
    for position in (0, 17, 49):
        assert seen(model, 50, position) == list(range(50))


@pytest.mark.parametrize("length", [1, 7, 19, 20, 33])
def test_a_short_sequence_stands_on_the_circle_of_pretraining(length: int):
    model, plain = network(circle=20), network()
    ids = letters(model, 2, length)
    whole = torch.cat([ids, torch.full((2, max(0, 20 - length)), DNA.mask_id)], dim=1)
    for layer in (None, 0, 1):
        wanted = plain(whole, None, layer)[:, :length]
        torch.testing.assert_close(model(ids, None, layer), wanted)
    soft = torch.rand(2, length, 5)
    rows = torch.cat([soft, torch.zeros(2, max(0, 20 - length), 5)], dim=1)
    torch.testing.assert_close(model(soft), plain(rows)[:, :length])


def test_what_stands_before_a_letter_is_heard_of_around_the_circle_alone():
    """The reason for a circle of one length: the neighbour before is the whole circle ahead."""
    config = ChordMixerConfig(group=1, layers=1, hidden=8, circle=64).for_length(64)
    one_way = ChordMixer(dataclasses.replace(config, circle=0, wrap=False)).double()
    assert seen(one_way, 10, 5) == [5, 6, 7, 8, 9]
    model = ChordMixer(config).double()
    assert seen(model, 10, 5) == list(range(10))


# ---------------------------------------------------------------- padding


@pytest.mark.parametrize("place", ["left", "right", "both", "inside"])
@pytest.mark.parametrize(("wrap", "circle"), [(True, 0), (True, 45), (True, 80), (False, 0)])
def test_padding_never_changes_a_real_position(wrap: bool, circle: int, place: str):
    model = network(wrap=wrap, circle=circle)
    lengths, total = [61, 1, 23, 40], 61
    sequences = [letters(model, 1, n) for n in lengths]
    padded = letters(model, 4, total)  # letters where the padding is: the mask alone hides them
    mask = torch.zeros(4, total, dtype=torch.bool)
    for row, (x, n) in enumerate(zip(sequences, lengths, strict=True)):
        start = {"left": total - n, "right": 0, "both": (total - n) // 2}.get(place)
        at = torch.randperm(total)[:n].sort()[0] if start is None else torch.arange(n) + start
        padded[row, at], mask[row, at] = x[0], True
    for layer in (None, 1):
        out = model(padded, mask, layer)
        for row, x in enumerate(sequences):
            alone = model(x, None, layer)[0]
            scale = max(1.0, alone.abs().max().item())
            torch.testing.assert_close(out[row][mask[row]], alone, atol=1e-5 * scale, rtol=0)


def test_the_gradient_is_that_of_each_sequence_alone():
    model = network(torch.float64)
    x = letters(model, 2, 30)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 12:] = False
    model(x, mask)[mask].square().sum().backward()
    together = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    (model(x[:1]).square().sum() + model(x[1:, :12]).square().sum()).backward()
    for parameter, wanted in zip(model.parameters(), together, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)


@pytest.mark.parametrize("wrap", [True, False])
def test_the_gradient_of_the_rotation_is_right(wrap: bool):
    config = ChordMixerConfig(**SMALL | {"group": 1, "groups": 4, "wrap": wrap})
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1, 1]]).bool()
    y = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)
    for hidden in (None, mask):

        def rotated(y: torch.Tensor, hidden: torch.Tensor | None = hidden) -> torch.Tensor:
            return Rotation.of(config, y, hidden).added(y, y.square())

        assert torch.autograd.gradcheck(rotated, (y,))
        assert torch.autograd.gradgradcheck(rotated, (y,))


def test_a_sequence_of_padding_alone_spoils_nothing():
    model = network()
    ids = letters(model, 2, 20)
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[1] = False
    out = model(ids, mask)
    torch.testing.assert_close(out[0], model(ids[:1])[0])
    out[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_rotation_makes_one_tensor():
    """Not one a group: it is a single gather of the size of what is rotated."""
    config = ChordMixerConfig(**SMALL)
    y = torch.randn(4, 50, config.d_model)
    with torch.no_grad():
        rotation = Rotation.of(config, y, None)
        assert peak_bytes(lambda: rotation.rotated(y)) == y.nbytes
        assert peak_bytes(lambda: rotation.added(y, y)) == y.nbytes


# ---------------------------------------------------------------- the rest of the contract


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN], ids=lambda a: a.name)
def test_the_alphabet_comes_from_the_config(alphabet: Any):
    model = network(alphabet=alphabet.name)
    assert model.alphabet is alphabet
    ids = torch.randint(0, alphabet.size, (2, 30))
    rows = F.one_hot(ids, alphabet.size).float()
    torch.testing.assert_close(model(rows), model(ids), atol=1e-5, rtol=0)
    assert torch.equal(model(ids.to(torch.uint8)), model(ids))


def test_symbols_behind_the_letters_are_blank_rows():
    model = network()
    ids = letters(model, 1, 12)
    rows = F.one_hot(ids, 5).float()
    ids[0, 3], ids[0, 7] = DNA.mask_id, DNA.pad_id
    rows[0, [3, 7]] = 0
    torch.testing.assert_close(model(ids), model(rows))


@pytest.mark.parametrize("norm", NORMS)
def test_dropout_acts_in_training_alone(norm: str):
    model = network(dropout=0.5, norm=norm)
    x = letters(model, 1, 40)
    assert torch.equal(model(x), network(norm=norm)(x))
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize("norm", NORMS)
def test_bfloat16_autocast_keeps_the_residual_stream_in_float32(norm: str):
    model = network(group=8, hidden=64, norm=norm)
    ids = letters(model, 2, 32)
    for x in (ids, F.one_hot(ids, 5).float()):
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x)
            streams = [model(x, None, layer) for layer in range(model.layers + 1)]
        assert {stream.dtype for stream in [rough, *streams]} == {torch.float32}
        assert (rough - exact).abs().max() < 0.03 * exact.abs().max()
        rough.sum().backward()
    half = network(torch.bfloat16)
    assert half(ids).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"group": 0}, "group must be at least 1, not 0"),
        ({"groups": 1}, "groups must be at least 2, not 1"),
        ({"layers": 0}, "layers must be at least 1, not 0"),
        ({"blocks": 0}, "blocks must be at least 1, not 0"),
        ({"hidden": 0}, "hidden must be at least 1, not 0"),
        ({"circle": -1}, "circle is at least 0, and 0 without wrap, not -1"),
        ({"circle": 9, "wrap": False}, "circle is at least 0, and 0 without wrap, not 9"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=f"^ChordMixer: {said}$"):
        ChordMixerConfig(**wrong)
    with pytest.raises(InputError, match="norm must be 'none' or 'pre' or 'post', not 'batch'"):
        registry.configured("findna-tiny", norm="batch")
