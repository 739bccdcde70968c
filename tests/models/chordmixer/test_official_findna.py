"""Conversion of FinDNA's published layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from findna_files import OURS, Checkpoint, agree, published, written
from safetensors.torch import load_file

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models.chordmixer.network import ChordMixerConfig
from helicon.models.convert import convert
from helicon.models.hub import HeliconForMaskedLM, load

BLOCK = "encoder.SwanDNA_blocks.{}.SwanDNA_blocks.{}.column_transform.{}"


def test_features_and_logits_agree(tmp_path: Path):
    checkpoint, tensors = published()
    report = convert(written(checkpoint, tmp_path), tmp_path / "out", source="findna")
    assert (report.source, report.model_class) == ("findna", "HeliconForMaskedLM")
    assert set(report.used) == set(checkpoint["Teacher"]) and len(report.used) == 164
    assert report.unused == ()
    assert report.config == ChordMixerConfig(group=4, groups=11, layers=4, blocks=10, hidden=64)
    model, rows = load(report.folder), tensors["input_soft"][..., OURS]
    assert isinstance(model, HeliconForMaskedLM)
    with torch.no_grad():
        assert agree(model.backbone(rows), tensors["features"])
        assert agree(model(rows).logits, tensors["logits"][..., OURS])
    saved = json.loads((report.folder / "config.json").read_text())["backbone"]
    assert (saved["group"], saved["groups"], saved["blocks"]) == (4, 11, 10)  # no length's matter
    assert "Of its two networks this is the teacher." in (report.folder / "README.md").read_text()


def test_letters_become_ours_and_hidden_ones_are_blank(tmp_path: Path):
    """The columns of the weights speak of the letters that the tokens are."""
    checkpoint, _ = published()
    state = checkpoint["Teacher"]
    state["embedding.weight"] = torch.randn(44, 5)
    model = load(convert(written(checkpoint, tmp_path), tmp_path / "out").folder)
    ids = torch.tensor([[*range(DNA.size), DNA.mask_id, DNA.pad_id]])
    rows = model.backbone(ids, None, 0)[0] - state["embedding.bias"]
    for row, letter in zip(rows, "ACGTN", strict=False):
        wanted = state["embedding.weight"][:, "ACGNT".index(letter)]
        torch.testing.assert_close(row, wanted, atol=1e-6, rtol=0)
    assert not rows[DNA.size :].any()
    assert torch.equal(model.lm_head.bias, state["linear.bias"][OURS])


def test_either_network_is_read(tmp_path: Path):
    checkpoint, tensors = published()
    path = written(checkpoint, tmp_path)
    for name in ("teacher", "student"):
        folder = convert(path, tmp_path / name, network=name).folder
        weights = load_file(folder / "model.safetensors")
        wanted = checkpoint[name.title()][BLOCK.format(3, 9, "fc2.bias")]
        assert torch.equal(weights["backbone.encoders.3.9.fc2.bias"], wanted)
        assert f"this is the {name}." in (folder / "README.md").read_text()
    with torch.no_grad():
        features = load(folder).backbone(tensors["input_soft"][..., OURS])
    assert not agree(features, tensors["features"])
    del checkpoint["Student"]
    with pytest.raises(InputError, match="holds no network Student; fetch it again"):
        convert(written(checkpoint, tmp_path), tmp_path / "out", network="student")


def test_the_file_tells_whose_it_is(tmp_path: Path):
    path = written(published()[0], tmp_path)
    with pytest.raises(InputError, match="is a checkpoint of findna, not of carp"):
        convert(path, tmp_path / "out", source="carp")
    torch.save({"state_dict": {}}, path)
    with pytest.raises(InputError, match="is a checkpoint of convnova, not of findna"):
        convert(path, tmp_path / "out", source="findna")


@pytest.mark.parametrize("option", [{"dilation": 4}, {"stacks": 1}, {"problem": "regression"}])
def test_options_of_another_code_are_refused(option: dict[str, Any], tmp_path: Path):
    path = written(published()[0], tmp_path)
    said = f"of findna, which knows no such option; leave out --{next(iter(option))}$"
    with pytest.raises(InputError, match=said):
        convert(path, tmp_path / "out", **option)
    path.unlink()
    torch.save({"state_dict": {}}, path)
    for name, value in (("network", "student"), ("group", 4)):
        with pytest.raises(InputError, match=f"of convnova, .* leave out --{name}$"):
            convert(path, tmp_path / "out", **{name: value})


def narrowed(checkpoint: Checkpoint, width: int) -> None:
    """Leave the first `width` channels."""
    state = checkpoint["Teacher"]
    for key, value in state.items():
        if key.startswith("embedding") or ".fc2." in key:
            state[key] = value[:width].clone()
        elif key != "linear.bias" and not key.endswith("fc1.bias"):
            state[key] = value[:, :width].clone()


def test_a_group_that_the_blocks_do_not_tell_is_asked_for(tmp_path: Path):
    checkpoint, _ = published()
    narrowed(checkpoint, 40)
    path = written(checkpoint, tmp_path)
    said = "10 blocks a layer would mean 11 groups, which do not divide its 40 channels; .*--group"
    with pytest.raises(InputError, match=said):
        convert(path, tmp_path / "out")
    for wrong in (0, 7, 40):
        with pytest.raises(InputError, match=f"--group {wrong} does not divide its 40 channels"):
            convert(path, tmp_path / "out", group=wrong)
    config = convert(path, tmp_path / "out", group=4).config
    assert (config.group, config.groups, config.blocks) == (4, 10, 10)


def test_without_its_head_it_is_a_backbone_and_other_keys_are_listed(tmp_path: Path):
    checkpoint, tensors = published()
    state = checkpoint["Teacher"]
    state |= {"center": torch.zeros(1, 10, 5), "mlp.weight": torch.zeros(2, 2)}
    del state["linear.weight"], state["linear.bias"]
    report = convert(written(checkpoint, tmp_path), tmp_path / "out")
    assert (report.model_class, report.unused) == ("HeliconModel", ("center", "mlp.weight"))
    with torch.no_grad():
        assert agree(
            load(report.folder).backbone(tensors["input_soft"][..., OURS]), tensors["features"]
        )


def without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.pop(key)


def shaped(key: str, *shape: int) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.update({key: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            without(BLOCK.format(2, 4, "fc2.bias")),
            r"incomplete: has no weights for backbone.encoders.2.4.fc2.bias$",
        ),
        (without("linear.bias"), "has no weights for lm_head.bias$"),
        (without("embedding.weight"), "lacks embedding or the first block of encoder.SwanDNA"),
        (without(BLOCK.format(0, 0, "fc1.weight")), "lacks embedding or the first block"),
        (
            shaped("embedding.weight", 44, 4),
            r"embedding.weight has shape \(44, 4\), not \(44, 5\)",
        ),
        (shaped("linear.weight", 2, 44), r"linear.weight has shape \(2, 44\), not \(5, 44\)"),
        (
            shaped(BLOCK.format(1, 1, "fc1.weight"), 32, 44),
            r"fc1.weight has shape \(32, 44\), not \(64, 44\)",
        ),
        (dict.clear, "holds no weights of a findna network"),
    ],
)
def test_an_incomplete_checkpoint_names_what_is_wrong(
    change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path
):
    checkpoint, _ = published()
    change(checkpoint["Teacher"])
    path = written(checkpoint, tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        convert(path, tmp_path / "out", source="findna")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()
