"""CLS tokens: what is pooled of them, what a model without them says, and the student's folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helicon.errors import InputError
from helicon.models.chordmixer.network import ChordMixerConfig
from helicon.models.hub import (
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconPreTrainedModel,
    load,
    network_folder,
    save,
    untrained,
    with_head,
)
from helicon.models.parts.backbone import one_hot

BACKBONE = ChordMixerConfig(group=3, groups=5, layers=1, blocks=4, hidden=16)
COUNT = 3


def language_model(seed: int = 0, cls_tokens: int = COUNT) -> HeliconForMaskedLM:
    torch.manual_seed(seed)
    config = HeliconConfig.of(BACKBONE)
    config.cls_tokens = cls_tokens
    return HeliconForMaskedLM(config).eval()


@pytest.fixture
def headed() -> HeliconForSequenceClassification:
    model, _ = with_head(language_model(), "sequence", "single_label", 2, pool="cls")
    assert isinstance(model, HeliconForSequenceClassification)
    return model.eval()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a self-distilled run, as far as models go."""
    save(language_model(1), tmp_path / "run" / "model")
    save(language_model(2), tmp_path / "run" / "student")
    return tmp_path / "run"


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x)


def test_the_head_sees_the_mean_over_the_blanks_behind_the_letters(headed):
    ids = torch.randint(0, 4, (2, 17))
    blanks = torch.full((2, COUNT), headed.config.mask_token_id)
    features = headed.backbone(torch.cat([ids, blanks], dim=1))
    wanted = headed.classifier.layers(features[:, -COUNT:].mean(1))
    torch.testing.assert_close(headed(ids).logits, wanted)
    rows = one_hot(ids, headed.backbone.alphabet.size, torch.float32)
    torch.testing.assert_close(headed(rows).logits, wanted)
    assert not torch.allclose(wanted, headed.classifier.layers(features.mean(1)), atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_nothing(headed, side):
    lengths, total = [17, 9, 1], 21
    alone = [torch.randint(0, 4, (1, n)) for n in lengths]
    ids = torch.full((3, total), headed.config.pad_token_id)
    mask = torch.zeros(3, total, dtype=torch.long)
    for row, (x, n) in enumerate(zip(alone, lengths, strict=True)):
        span = slice(0, n) if side == "right" else slice(total - n, total)
        ids[row, span], mask[row, span] = x[0], 1
    wanted = torch.cat([headed(x).logits for x in alone])
    torch.testing.assert_close(headed(ids, mask).logits, wanted, atol=1e-5, rtol=1e-5)


def test_saved_and_opened_again_it_computes_the_same(headed, tmp_path):
    ids = torch.randint(0, 4, (2, 17))
    opened = load(save(headed, tmp_path / "headed"))
    assert (opened.config.pool, opened.config.cls_tokens) == ("cls", COUNT)
    assert torch.equal(opened(ids).logits, headed(ids).logits)


def test_any_head_keeps_the_number_of_tokens():
    token, _ = with_head(language_model(), "token", "single_label", 2)
    assert token.config.cls_tokens == COUNT


def test_gradients_reach_the_whole_network(headed):
    headed.train()(torch.randint(0, 4, (2, 17)), labels=torch.tensor([0, 1])).loss.backward()
    for name, value in headed.named_parameters():
        assert value.grad is not None and value.grad.any(), name


@pytest.mark.parametrize("make", [untrained, lambda _: language_model(cls_tokens=0)])
def test_a_model_without_such_tokens_is_one_clear_line(make):
    model: HeliconPreTrainedModel = make("convnova-tiny")
    with pytest.raises(InputError, match=r"pool: cls needs a model .* has none") as caught:
        with_head(model, "sequence", "single_label", 2, pool="cls")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="choose mean, max or attention"):
        model.cls_features(torch.zeros(1, 5, dtype=torch.long))


def test_a_folder_that_lost_the_number_is_refused(headed, tmp_path):
    folder = save(headed, tmp_path / "headed")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"cls_tokens": 3', '"cls_tokens": 0'))
    with pytest.raises(InputError, match=r"config\.json: pool: cls needs"):
        load(folder)


def test_a_circle_and_a_line_differ_at_the_tokens():
    """Where the sequence is a line, the last blank sees what a receptive field reaches alone."""
    config = HeliconConfig.of(replace(BACKBONE, wrap=False))
    config.cls_tokens = COUNT
    line = HeliconForMaskedLM(config).eval()
    ids = torch.randint(0, 4, (1, 200))
    other = ids.clone()
    other[0, 0] = (ids[0, 0] + 1) % 4
    assert torch.equal(line.cls_features(ids), line.cls_features(other))


# ---------------------------------------------------------------- teacher and student


def test_a_run_opens_its_teacher_unless_the_student_is_asked_for(run):
    assert same(load(run), language_model(1))
    assert same(load(run, "teacher"), language_model(1))
    assert same(load(str(run), "student"), language_model(2))
    assert network_folder(run, "student") == run / "student"
    assert network_folder("convnova-tiny", "teacher") == "convnova-tiny"


@pytest.mark.parametrize("what", ["model folder", "named size", "nothing"])
def test_where_there_is_no_student_one_line_says_so(run, what):
    asked = {"model folder": run / "model", "named size": "convnova-tiny", "nothing": run / "no"}
    with pytest.raises(InputError, match="has no student network; only the run folder") as caught:
        load(asked[what], "student")
    assert str(caught.value).startswith(f"{asked[what]}: ") and "\n" not in str(caught.value)
