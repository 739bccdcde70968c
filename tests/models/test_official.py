import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from helicon.errors import InputError
from helicon.models.convert import convert
from helicon.models.hub import load

FIXTURES = Path(__file__).parents[1] / "fixtures"
MLM = "convnova_d32_k9_mlm"
BENCHMARK = "convnova_d64_k5_genomic_benchmarks"

Checkpoint = dict[str, Any]


def published(name: str) -> tuple[Checkpoint, dict[str, torch.Tensor]]:
    """A fixture's weights in the layout of the authors' checkpoints, and its tensors."""
    tensors = load_file(FIXTURES / f"{name}.safetensors")
    state = {
        key.replace("state.", "model.", 1): value
        for key, value in tensors.items()
        if key.startswith("state.")
    }
    checkpoint = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "1.8.6",
        "state_dict": state,
    }
    return checkpoint, tensors


def written(checkpoint: object, folder: Path) -> Path:
    path = folder / "last.ckpt"
    torch.save(checkpoint, path)
    return path


def agree(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((got - wanted).abs().max() <= 1e-5 * wanted.abs().max())


def test_a_pretrained_checkpoint_agrees(tmp_path: Path):
    checkpoint, tensors = published(MLM)
    report = convert(written(checkpoint, tmp_path), tmp_path / "out", dilation=4)
    assert report.model_class == "HeliconForMaskedLM"
    assert set(report.used) == set(checkpoint["state_dict"])
    assert report.unused == ()
    assert (report.config.d_model, report.config.kernel, report.config.mlp_ratio) == (32, 9, 2)
    assert report.config.feed_forward and report.config.mask_reads_as == "N"
    model = load(report.folder)
    with torch.no_grad():
        assert agree(model.backbone(tensors["input_ids"]), tensors["features"])
        assert agree(model(tensors["input_ids"]).logits, tensors["logits"])


def test_a_fine_tuned_checkpoint_agrees(tmp_path: Path):
    checkpoint, tensors = published(BENCHMARK)
    weight, bias = torch.randn(3, 64), torch.randn(3)
    checkpoint["state_dict"] |= {
        "decoder.0.output_transform.weight": weight,
        "decoder.0.output_transform.bias": bias,
        "val_torchmetrics.count": torch.zeros(1),
        "loss.weight": torch.ones(3),
        "model.out_linear.weight": torch.zeros(5, 64),
    }
    report = convert(written(checkpoint, tmp_path), tmp_path / "out", dilation=4)
    assert report.model_class == "HeliconForSequenceClassification"
    assert report.unused == ("val_torchmetrics.count", "loss.weight", "model.out_linear.weight")
    assert (report.config.kernel, report.config.mlp_ratio) == (5, 4)
    assert not report.config.feed_forward
    model = load(report.folder)
    with torch.no_grad():
        assert agree(model.backbone(tensors["input_ids"]), tensors["features"])
        wanted = tensors["features"].mean(1) @ weight.T + bias
        assert agree(model(tensors["input_ids"]).logits, wanted)


def test_a_checkpoint_without_any_head_is_a_backbone(tmp_path: Path):
    checkpoint, _ = published(BENCHMARK)
    report = convert(written(checkpoint, tmp_path), tmp_path / "out", dilation=4)
    assert report.model_class == "HeliconModel"
    assert load(report.folder).backbone.parameter_count == 377_920


def test_stacks_are_consecutive_copies_of_a_dilation(tmp_path: Path):
    checkpoint, _ = published(BENCHMARK)
    state = checkpoint["state_dict"]
    for key in [k for k in state if k.split(".")[1] in ("convs", "gates", "norms", "rc_norms")]:
        model, group, i, kind = key.split(".")
        state[f"{model}.{group}.{int(i) + 5}.{kind}"] = torch.randn_like(state[key])
    path = written(checkpoint, tmp_path)
    with pytest.raises(InputError, match="how its 10 convolutions form stacks; give --stacks"):
        convert(path, tmp_path / "out", dilation=4)
    with pytest.raises(InputError, match="--stacks 3 does not divide 10 convolutions"):
        convert(path, tmp_path / "out", dilation=4, stacks=3)
    report = convert(path, tmp_path / "out", dilation=4, stacks=2)
    assert report.config.dilations == [1, 1, 1, 1, 1, 1, 4, 4, 16, 16]
    backbone = load(report.folder).backbone
    assert torch.equal(backbone.blocks[7].gate.weight, state["model.gates.7.weight"])
    assert convert(path, tmp_path / "out", dilation=4, stacks=1).config.blocks == 10


def test_final_convolutions_are_linear_layers(tmp_path: Path):
    checkpoint, tensors = published(BENCHMARK)
    first, second = torch.randn(64, 64, 1) / 8, torch.randn(64, 64, 1) / 8
    bias = torch.randn(64)
    checkpoint["state_dict"] |= {
        "model.final_conv.0.weight": first,
        "model.final_conv.0.bias": bias,
        "model.final_conv.2.weight": second,
        "model.final_conv.2.bias": bias,
    }
    report = convert(written(checkpoint, tmp_path), tmp_path / "out", dilation=4)
    assert report.config.final_conv
    with torch.no_grad():
        got = load(report.folder).backbone(tensors["input_ids"])
        hidden = torch.nn.functional.conv1d(tensors["features"].mT, first, bias)
        wanted = torch.nn.functional.conv1d(torch.nn.functional.gelu(hidden), second, bias)
    assert agree(got, wanted.mT)


def test_the_flags_that_shapes_cannot_replace(tmp_path: Path):
    path = written(published(MLM)[0], tmp_path)
    with pytest.raises(InputError, match="shapes do not tell the dilation; give --dilation"):
        convert(path, tmp_path / "out")
    assert convert(path, tmp_path / "out", dilation=2, schedule="paper").config.dilations == [
        *(1, 1, 2, 4, 8)
    ]


def test_a_single_output_needs_its_problem(tmp_path: Path):
    checkpoint, _ = published(BENCHMARK)
    checkpoint["state_dict"] |= {
        "decoder.0.output_transform.weight": torch.randn(1, 64),
        "decoder.0.output_transform.bias": torch.randn(1),
    }
    path = written(checkpoint, tmp_path)
    with pytest.raises(InputError, match="head has one output; give --problem regression"):
        convert(path, tmp_path / "out", dilation=4)
    report = convert(path, tmp_path / "out", dilation=4, problem="regression")
    assert load(report.folder).config.problem == "regression"


def test_settings_beside_the_weights_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Lightning keeps the run's settings as objects of a library that need not be installed."""
    module = types.ModuleType("omegaconf.dictconfig")
    settings_class = type("DictConfig", (), {"__module__": "omegaconf.dictconfig"})
    module.DictConfig = settings_class  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    monkeypatch.setitem(sys.modules, "omegaconf.dictconfig", module)
    settings = settings_class()
    settings.__dict__ = {"lr": 1e-3, "types": [int, dict], "inner": settings_class()}
    checkpoint, _ = published(MLM)
    path = written(checkpoint | {"hyper_parameters": settings}, tmp_path)
    monkeypatch.undo()
    report = convert(path, tmp_path / "out", dilation=4)
    assert set(report.used) == set(checkpoint["state_dict"])


class Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path):
    trace = tmp_path / "trace"
    whole = published(MLM)[0] | {"hyper_parameters": Runs(trace)}
    with pytest.raises(InputError, match="holds code or objects") as caught:
        convert(written(whole, tmp_path), tmp_path / "out", dilation=4)
    assert "\n" not in str(caught.value)
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Runs(trace)))
    with pytest.raises(InputError, match="is no PyTorch checkpoint"):
        convert(tmp_path / "bare.ckpt", tmp_path / "out", dilation=4)
    assert not trace.exists()


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("report.txt", "x" * 1000)


def truncated(path: Path) -> None:
    torch.save(published(MLM)[0], path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def saved(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: path.touch(), "the checkpoint is empty"),
        (lambda path: path.mkdir(), "is a folder, a checkpoint is wanted"),
        (lambda path: path.write_text("<html>" * 99), "is no PyTorch checkpoint"),
        (zipped, "is no PyTorch checkpoint, or it is damaged"),
        (truncated, "is no PyTorch checkpoint, or it is damaged"),
        (saved(torch.zeros(3)), "has no state_dict .* not a published checkpoint that is read"),
        (
            saved({"state_dict": [1]}),
            r"has no state_dict \(convnova\) or model_state_dict \(carp\)",
        ),
        (saved({"state_dict": {}}), "holds no weights of a convnova network"),
        (
            saved({"state_dict": {"model.linear.weight": torch.zeros(8, 5, 9)}}),
            "lacks model.linear, model.convs or model.milinear",
        ),
    ],
)
def test_what_is_no_checkpoint_is_one_clear_line(
    write: Callable[[Path], object], message: str, tmp_path: Path
):
    path = tmp_path / "x.ckpt"
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        convert(path, tmp_path / "out", dilation=4)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("model.gates.3.bias"), "no weights for backbone.blocks.3.gate.bias$"),
        (
            lambda s: (s.pop("model.rc_linear.bias"), s.pop("model.mlpgroup2.1.2.weight")),
            "no weights for backbone.gate_stem.bias, backbone.blocks.1.feed_forward.2.weight$",
        ),
        (
            lambda s: s.update({"model.norms.0.bias": torch.zeros(7)}),
            r"model.norms.0.bias has shape \(7,\), not \(32,\)",
        ),
        (
            lambda s: s.update({"model.linear.weight": torch.zeros(32, 4, 9)}),
            r"model.linear.weight has shape \(32, 4, 9\): not ConvNova's",
        ),
    ],
)
def test_an_incomplete_checkpoint_names_what_is_wrong(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, tmp_path: Path
):
    checkpoint, _ = published(MLM)
    change(checkpoint["state_dict"])
    with pytest.raises(InputError, match=message) as caught:
        convert(written(checkpoint, tmp_path), tmp_path / "out", dilation=4)
    assert "\n" not in str(caught.value)
