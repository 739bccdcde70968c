"""What must hold for every registered model, whichever architecture it is."""

import os
import subprocess
import sys

import pytest
import torch

from helicon.models import registry
from helicon.models.hub import (
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconPreTrainedModel,
    save,
    untrained,
    with_head,
)
from helicon.models.info import info
from helicon.models.parts.backbone import Backbone
from helicon.models.parts.substitutions import Where

LENGTH = 40
LARGEST = 5_000_000


def count(name: str) -> int:
    with torch.device("meta"):
        return registry.backbone(name).parameter_count


NAMES = [name for name in registry.SIZES if count(name) < LARGEST]


def built(name: str) -> Backbone:
    torch.manual_seed(0)
    return registry.backbone(name).eval()


def batch(model: Backbone | HeliconPreTrainedModel) -> torch.Tensor:
    backbone = model if isinstance(model, Backbone) else model.backbone
    torch.manual_seed(1)
    return torch.randint(0, len(backbone.alphabet.real), (2, LENGTH))


def test_every_architecture_has_a_model_here():
    seen = {registry.architecture_of(registry.SIZES[name]) for name in NAMES}
    assert seen == set(registry.FAMILIES)


@pytest.mark.parametrize("architecture", registry.FAMILIES)
def test_an_architecture_s_defaults_build_it(architecture: str):
    family = registry.FAMILIES[architecture]
    backbone, config = family.backbone, family.config
    assert family.name == architecture
    assert backbone.architecture == architecture
    assert config.__dataclass_params__.frozen
    with torch.device("meta"):
        assert isinstance(registry.backbone(config()), backbone)


@pytest.mark.parametrize("name", NAMES)
def test_forward_gives_features(name: str):
    model = built(name)
    x = batch(model)
    features = model(x)
    assert features.shape == (2, LENGTH, model.d_model)
    assert features.dtype == torch.float32 and features.isfinite().all()
    rows = torch.nn.functional.one_hot(x, model.alphabet.size).float()
    torch.testing.assert_close(model(rows), features)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_never_changes_a_real_position(name: str, side: str):
    model = built(name)
    x = batch(model)
    padding = torch.full((2, 13), model.alphabet.pad_id)
    parts = [padding, x] if side == "left" else [x, padding]
    mask = torch.cat([torch.full_like(p, p is x) for p in parts], dim=1).bool()
    with torch.no_grad():
        wanted, got = model(x), model(torch.cat(parts, dim=1), mask)
    got = got[mask].view_as(wanted)
    torch.testing.assert_close(got, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_never_changes_what_cls_tokens_see(name: str, side: str):
    model = with_cls_tokens(name)
    x = batch(model)
    padding = torch.full((2, 13), model.backbone.alphabet.pad_id)
    parts = [padding, x] if side == "left" else [x, padding]
    mask = torch.cat([torch.full_like(p, p is x) for p in parts], dim=1).bool()
    with torch.no_grad():
        wanted, got = model.cls_features(x), model.cls_features(torch.cat(parts, dim=1), mask)
    torch.testing.assert_close(got, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str):
    model = HeliconForMaskedLM(HeliconConfig.of(registry.size(name)))
    x = batch(model)
    model(x, labels=x).loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), key


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_can_be_drawn_again_and_no_buffer_is_lost(name: str):
    model = built(name)
    for key, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            assert hasattr(module, "reset_parameters"), key
        assert not module._non_persistent_buffers_set, key


def with_cls_tokens(name: str) -> HeliconPreTrainedModel:
    """A language model over the named size, as if pretrained with three CLS tokens."""
    config = HeliconConfig.of(registry.size(name))
    config.cls_tokens = 3
    torch.manual_seed(0)
    return HeliconForMaskedLM(config).eval()


def models(name: str) -> list[HeliconPreTrainedModel]:
    """A model of each kind over the named size."""
    torch.manual_seed(0)
    lm = untrained(name)
    token, _ = with_head(lm, "token", "single_label", 3, head="mlp")
    sequence, _ = with_head(lm, "sequence", "regression", 2, pool="attention")
    cls, _ = with_head(with_cls_tokens(name), "sequence", "single_label", 2, pool="cls")
    return [lm, token.eval(), sequence.eval(), cls.eval()]


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[torch.Tensor]]:
    """Logits of every saved model, computed by another process from the folders alone."""
    folder = tmp_path_factory.mktemp("models")
    work = {}
    for name in NAMES:
        paths = [str(save(m, folder / f"{name}-{i}")) for i, m in enumerate(models(name))]
        work[name] = (paths, batch(built(name)))
    torch.save(work, folder / "work.pt")
    script = """
import sys, helicon, torch
out = {}
with torch.no_grad():
    for name, (paths, x) in torch.load(sys.argv[1]).items():
        out[name] = [helicon.load(path)(x).logits for path in paths]
torch.save(out, sys.argv[1])
"""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", script, str(folder / "work.pt")]
    subprocess.run(command, check=True, env=environment, cwd=folder)
    return torch.load(folder / "work.pt")


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_computes_the_same_bits(name: str, reloaded: dict[str, list[torch.Tensor]]):
    wanted = models(name)
    assert [type(m) for m in wanted] == [
        HeliconForMaskedLM,
        HeliconForTokenClassification,
        HeliconForSequenceClassification,
        HeliconForSequenceClassification,
    ]
    with torch.no_grad():
        for model, logits in zip(wanted, reloaded[name], strict=True):
            assert torch.equal(model(batch(model)).logits, logits)


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trips(name: str):
    config = registry.SIZES[name]
    values = registry.config_to_dict(config)
    assert registry.config_from_dict(registry.architecture_of(config), values) == config
    assert HeliconConfig.of(config).backbone_config == config


@pytest.mark.parametrize("name", NAMES)
def test_logits_have_the_alphabet_s_letters_in_order(name: str):
    model = HeliconForMaskedLM(HeliconConfig.of(registry.size(name)))
    assert model(batch(model)).logits.shape == (2, LENGTH, model.backbone.alphabet.size)
    assert model.config.vocab_size == len(model.backbone.alphabet.vocabulary)


def test_every_model_runs_on_every_device(device: torch.device):
    for name in NAMES:
        model = built(name)
        x = batch(model)
        wanted = model(x)
        got = model.to(device)(x.to(device)).cpu()
        torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_position_sees_is_what_is_said(name: str):
    """A letter outside of the receptive field changes nothing; one behind, nothing if causal."""
    model = built(name).double()
    field = model.receptive_field
    reach = LENGTH if field is None else field // 2
    x = batch(model)[:1].repeat(1, 1 + 2 * min(reach, 200) // LENGTH)
    middle = x.shape[1] // 2
    with torch.no_grad():
        before = model(x)[0, middle]
        for position in range(0, x.shape[1], max(1, x.shape[1] // 20)):
            other = x.clone()
            other[0, position] = (x[0, position] + 1) % 4
            same = torch.equal(model(other)[0, middle], before)
            far = field is not None and abs(position - middle) > reach
            unseen = far or (model.causal and position > middle)
            assert same or not unseen


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_those_of_one_pass(name: str):
    model = built(name)
    x = batch(model)
    made: list[torch.Tensor] = []
    with torch.no_grad():
        model(x, layers=made)
        assert len(made) == model.layers + 1
        for number, state in enumerate(made):
            assert torch.equal(state, model(x, None, number))


@pytest.mark.parametrize("where", ["affected", "substituted"])
@pytest.mark.parametrize("name", NAMES)
def test_substitutions_are_those_of_full_passes(name: str, where: Where):
    model = built(name)
    how, ids = model.substitutions(), batch(model)[0]
    positions = torch.tensor([0, LENGTH // 2, LENGTH - 1])
    tokens = torch.tensor([[1], [model.alphabet.mask_id], [2]])
    with torch.no_grad():
        reference = how.reference(ids)
        changed = how.of(reference, positions, tokens, where)
        for row, position in enumerate(positions):
            whole = ids.clone()
            whole[position] = tokens[row, 0]
            full = model(whole[None])[0]
            inside = changed.valid[row]
            wanted = full[changed.places[row][inside]]
            bound = 1e-5 * full.abs().max().item()
            got = changed.features[row][inside]
            torch.testing.assert_close(got, wanted, atol=bound, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_products_are_near(name: str):
    model = built(name)
    x = batch(model)
    with torch.no_grad():
        wanted = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x).float()
    assert found.isfinite().all()
    assert (found - wanted).abs().max() < 0.1 * wanted.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_operations_are_counted(name: str):
    assert info(name, length=64).flops_per_letter > 0
