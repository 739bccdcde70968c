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
from helicon.models.parts.backbone import Backbone

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
