"""Conversion of CARP's published layout."""

import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from carp_files import Checkpoint, agree, published, real, written
from safetensors.torch import load_file, save_file

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.models.convert import convert
from helicon.models.hub import HeliconForMaskedLM, load


def test_logits_and_every_layer_agree(tmp_path: Path):
    checkpoint, tensors = published()
    report = convert(written(checkpoint, tmp_path), tmp_path / "out", source="carp")
    assert (report.source, report.model_class) == ("carp", "HeliconForMaskedLM")
    assert set(report.used) == set(checkpoint["model_state_dict"])
    assert report.unused == ()
    model, ids, mask = load(report.folder), tensors["input_ids"], real(tensors)
    assert isinstance(model, HeliconForMaskedLM)
    with torch.no_grad():
        assert agree(model(ids, mask).logits[mask], tensors["logits"][mask])
        for layer in (1, model.backbone.layers):
            wanted = tensors[f"representation.{layer}"][mask]
            assert agree(model.backbone(ids, mask, layer)[mask], wanted)


def test_a_fresh_process_opens_it_with_the_auto_classes(tmp_path: Path):
    checkpoint, tensors = published()
    folder = convert(written(checkpoint, tmp_path), tmp_path / "out").folder
    ids, mask = tensors["input_ids"], real(tensors)
    lengths = mask.sum(1).tolist()
    texts = [PROTEIN.decode(row[:n].numpy()) for row, n in zip(ids, lengths, strict=True)]
    save_file({"wanted": ids, "mask": mask.long()}, tmp_path / "in.safetensors")
    script = f"""
import helicon, torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})
inputs = tokenizer({texts!r}, padding=True, return_tensors="pt")
out = dict(inputs)
with torch.no_grad():
    out["logits"] = AutoModelForMaskedLM.from_pretrained({str(folder)!r})(**inputs).logits
    out["features"] = AutoModel.from_pretrained({str(folder)!r})(**inputs).last_hidden_state
save_file(out, {str(tmp_path / "out.safetensors")!r})
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)
    out = load_file(tmp_path / "out.safetensors")
    assert torch.equal(out["input_ids"], ids)
    assert torch.equal(out["attention_mask"], mask.long())
    assert agree(out["logits"][mask], tensors["logits"][mask])
    with torch.no_grad():
        assert torch.equal(out["features"][mask], load(folder).backbone(ids, mask)[mask])


def test_the_file_tells_whose_it_is(tmp_path: Path):
    checkpoint, _ = published()
    path = written(checkpoint, tmp_path)
    assert convert(path, tmp_path / "out").source == "carp"
    with pytest.raises(InputError, match=r"is a checkpoint of carp, not of convnova: .* --source"):
        convert(path, tmp_path / "other", source="convnova")
    torch.save({"state_dict": {}}, path)
    with pytest.raises(InputError, match="is a checkpoint of convnova, not of carp"):
        convert(path, tmp_path / "other", source="carp")
    torch.save({"weights": {}}, path)
    with pytest.raises(InputError, match="not a published checkpoint that is read"):
        convert(path, tmp_path / "other")


@pytest.mark.parametrize(
    "option", [{"dilation": 4}, {"stacks": 1}, {"schedule": "official"}, {"problem": "regression"}]
)
def test_options_of_another_code_are_refused(option: dict[str, Any], tmp_path: Path):
    path = written(published()[0], tmp_path)
    said = f"which tells everything; leave out --{next(iter(option))}$"
    with pytest.raises(InputError, match=said):
        convert(path, tmp_path / "out", **option)
    assert not (tmp_path / "out").exists()


def test_half_precision_and_ordered_weights_are_read(tmp_path: Path):
    checkpoint, _ = published()
    state = checkpoint["model_state_dict"]
    checkpoint["model_state_dict"] = OrderedDict(
        {key: value.half() for key, value in state.items()}
    )
    report = convert(written(checkpoint | {"epoch": 7}, tmp_path), tmp_path / "out")
    weights = load_file(report.folder / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float32}
    assert torch.equal(weights["lm_head.bias"], state["decoder.conv.bias"].half().float())


def test_weights_that_no_carp_has_are_an_error(tmp_path: Path):
    checkpoint, _ = published()
    checkpoint["model_state_dict"] |= {"embedder.positions": torch.zeros(3)}
    with pytest.raises(InputError, match=r"holds embedder.positions, which no carp network has"):
        convert(written(checkpoint, tmp_path), tmp_path / "out")


def test_a_largest_dilation_between_powers_of_two_is_read_as_the_code_does(tmp_path: Path):
    checkpoint, _ = published()
    report = convert(written(checkpoint | {"r": 31}, tmp_path), tmp_path / "out")
    assert report.config.dilations == [1, 2, 4, 8, 16, 1]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"model": "bigcarp_random"}, "BiGCARP"),
        ({"tokens": ["PF00001"], "pfam_to_domain": {}}, "BiGCARP"),
        ({"model": "mifst"}, "MIF"),
    ],
)
def test_relatives_are_refused(change: dict[str, Any], kind: str, tmp_path: Path):
    path = written(published()[0] | change, tmp_path)
    with pytest.raises(InputError, match=f"carp.pt: is a {kind} checkpoint, which is not read"):
        convert(path, tmp_path / "out")


def without(key: str) -> Callable[[Checkpoint], object]:
    return lambda c: c["model_state_dict"].pop(key)


def shaped(key: str, *shape: int) -> Callable[[Checkpoint], object]:
    return lambda c: c["model_state_dict"].update({key: torch.zeros(shape)})


def only(prefix: str) -> Callable[[Checkpoint], object]:
    def keep(checkpoint: Checkpoint) -> None:
        state = checkpoint["model_state_dict"]
        checkpoint["model_state_dict"] = {k: v for k, v in state.items() if k.startswith(prefix)}

    return keep


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("last_norm.bias"), "incomplete: has no weights for backbone.norm.bias$"),
        (without("decoder.conv.weight"), "has no weights for lm_head.weight$"),
        (
            without("embedder.layers.3.sequence1.2.conv.bias"),
            "has no weights for backbone.blocks.3.narrow.bias$",
        ),
        (
            lambda c: [
                c["model_state_dict"].pop(key)
                for key in list(c["model_state_dict"])
                if key.endswith("sequence1.0.weight") or key.startswith("decoder")
            ],
            r"backbone.blocks.4.norm_in.weight and 3 more$",
        ),
        (
            shaped("embedder.layers.0.conv.weight", 64, 64, 3),
            r"embedder.layers.0.conv.weight has shape \(64, 64, 3\), not \(64, 64, 5\)",
        ),
        (
            shaped("decoder.conv.weight", 29, 64, 1),
            r"decoder.conv.weight has shape \(29, 64, 1\), not \(30, 64\)",
        ),
        (lambda c: c.pop("slim"), "lacks the settings slim of a CARP checkpoint"),
        (lambda c: c.update(slim="yes"), "settings are not CARP's: .* slim must be bool, not 'y"),
        (lambda c: c.update(slim=True), r"conv.bias has shape \(64,\), not \(32,\)"),
        (lambda c: c.update(activation="tanh"), "activation must be 'gelu' or 'relu', not 'tanh'"),
        (lambda c: c.update(r="16"), "max_dilation must be int, not '16'"),
        (lambda c: c.update(r=0), "max_dilation must be at least 1, not 0"),
        (lambda c: c.update(n_layers=5), "n_layers is 5, but there are weights of 6 layers"),
        (lambda c: c.update(n_layers="6"), "n_layers is '6', but there are weights of 6 layers"),
        (only("mlp"), "holds no weights of a carp network"),
    ],
)
def test_an_incomplete_checkpoint_names_what_is_wrong(
    change: Callable[[Checkpoint], object], said: str, tmp_path: Path
):
    checkpoint, _ = published()
    change(checkpoint)
    path = written(checkpoint, tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        convert(path, tmp_path / "out", source="carp")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


class Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_damaged_and_foreign_files_are_one_line_and_run_no_code(tmp_path: Path):
    path, trace = written(published()[0], tmp_path), tmp_path / "trace"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="is no PyTorch checkpoint, or it is damaged"):
        convert(path, tmp_path / "out", source="carp")
    written(published()[0] | {"alphabet": Runs(trace)}, tmp_path)
    with pytest.raises(InputError, match="holds code or objects"):
        convert(path, tmp_path / "out", source="carp")
    path.write_bytes(pickle.dumps(published()[0] | {"x": Runs(trace)}))
    with pytest.raises(InputError, match=r"carp\.pt: "):
        convert(path, tmp_path / "out", source="carp")
    assert not trace.exists() and not (tmp_path / "out").exists()
