import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import errors
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models import hub, registry
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import (
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconModel,
    Metric,
    ModelCard,
    load,
    save,
    with_head,
)
from helicon.models.huggingface.folder import FILES

BACKBONE = ConvNovaConfig(d_model=8, blocks=2)
IDS = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 2, 1, 6, 6, 6]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


@pytest.fixture
def model() -> HeliconForMaskedLM:
    return HeliconForMaskedLM(HeliconConfig.of(BACKBONE)).eval()


@pytest.fixture
def folder(model: HeliconForMaskedLM, tmp_path: Path) -> Path:
    return save(model, tmp_path / "model")


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x)


def test_a_fresh_process_opens_a_folder_with_every_auto_class(
    model: HeliconForMaskedLM, folder: Path, tmp_path: Path
):
    script = f"""
import helicon, torch
from transformers import (AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification, AutoTokenizer)
tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})
inputs = tokenizer(["ACGTN[MASK]", "tgc"], padding=True, return_tensors="pt")
out = dict(inputs)
for auto in (AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification,
             AutoModelForTokenClassification):
    with torch.no_grad():
        answer = auto.from_pretrained({str(folder)!r})(**inputs)
    out[auto.__name__] = answer[0]
torch.save(out, {str(tmp_path / "out.pt")!r})
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)
    out = torch.load(tmp_path / "out.pt")
    assert torch.equal(out["input_ids"], IDS)
    assert torch.equal(out["attention_mask"], MASK)
    with torch.no_grad():
        features = model.backbone(IDS, MASK.bool())
        assert torch.equal(out["AutoModel"], features)
        assert torch.equal(out["AutoModelForMaskedLM"], model.lm_head(features))
    assert out["AutoModelForSequenceClassification"].shape == (2, 2)
    assert out["AutoModelForTokenClassification"].shape == (2, 6, 2)


def test_weights_start_as_torch_starts_the_backbone():
    torch.manual_seed(0)
    plain = registry.backbone(BACKBONE, stacks=2)
    torch.manual_seed(0)
    model = HeliconForMaskedLM(HeliconConfig.of(plain.config))
    assert same(model.backbone, plain)
    torch.manual_seed(0)
    assert same(AutoModel.from_config(HeliconConfig.of(plain.config)).backbone, plain)


@pytest.mark.parametrize(
    "auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification]
)
def test_a_head_that_the_file_lacks_starts_as_torch_starts_it(auto: Any, folder: Path):
    torch.manual_seed(0)
    wanted = torch.nn.Linear(8, 3)
    torch.manual_seed(0)
    new, info = auto.from_pretrained(folder, num_labels=3, output_loading_info=True)
    assert torch.equal(new.classifier.layers[1].weight, wanted.weight)
    assert torch.equal(new.classifier.layers[1].bias, wanted.bias)
    assert same(new.backbone, load(folder).backbone)
    assert set(info["missing_keys"]) == {"classifier.layers.1.weight", "classifier.layers.1.bias"}
    assert set(info["unexpected_keys"]) == {"lm_head.weight", "lm_head.bias"}


def test_auto_and_load_give_the_same_model(model: HeliconForMaskedLM, folder: Path):
    loaded, auto = load(folder), AutoModelForMaskedLM.from_pretrained(folder)
    assert type(loaded) is type(auto) is HeliconForMaskedLM
    assert same(loaded, model) and same(auto, model)
    assert not loaded.training and not auto.training
    assert loaded.config.to_dict() == auto.config.to_dict()
    assert all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float32])
def test_the_mask_may_have_any_type(model: HeliconForMaskedLM, dtype: torch.dtype):
    assert torch.equal(model(IDS, MASK.to(dtype)).logits, model(IDS, MASK).logits)


def test_outputs_follow_the_library(model: HeliconForMaskedLM):
    output = model(input_ids=IDS, attention_mask=MASK, labels=IDS.where(IDS < 5, -100))
    assert list(output) == ["loss", "logits"]
    assert model(IDS, return_dict=False)[0].shape == (2, 6, DNA.size)
    rows = torch.nn.functional.one_hot(IDS[:1, :5], DNA.size).float()
    assert torch.equal(model(rows).logits, model(IDS[:1, :5]).logits)


def test_masked_lm_loss_is_over_labelled_positions(model: HeliconForMaskedLM):
    labels = torch.full_like(IDS, -100)
    labels[0, 1], labels[1, 2] = 1, 3
    logits = model(IDS, MASK).logits
    wanted = torch.nn.functional.cross_entropy(
        torch.stack([logits[0, 1], logits[1, 2]]), torch.tensor([1, 3])
    )
    torch.testing.assert_close(model(IDS, MASK, labels).loss, wanted)


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("single_label", torch.ones(2, 6, dtype=torch.long)),
        ("multi_label", torch.ones(2, 6, 2)),
        ("regression", torch.ones(2, 6, 2)),
    ],
)
def test_token_labels_under_padding_are_no_targets(
    model: HeliconForMaskedLM, problem: Any, labels: torch.Tensor
):
    head, _ = with_head(model, "token", problem, 2)
    other = labels.clone()
    other[1, 3:] = 0
    assert torch.equal(head(IDS, MASK, labels).loss, head(IDS, MASK, other).loss)
    assert not torch.equal(head(IDS, None, labels).loss, head(IDS, None, other).loss)


def test_the_problem_is_inferred_where_it_was_never_said(folder: Path):
    two = AutoModelForSequenceClassification.from_pretrained(folder)
    one = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    logits = two(IDS, MASK).logits
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(two(IDS, MASK, torch.tensor([0, 1])).loss, wanted)
    assert two.config.problem == "single_label"  # said by its first loss, as in the library
    two.config.problem_type = None
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(two(IDS, MASK, labels).loss, wanted)
    wanted = torch.nn.functional.mse_loss(one(IDS, MASK).logits[:, 0], torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(one(IDS, MASK, torch.tensor([0.5, 2.0])).loss, wanted)


def test_with_head_keeps_the_backbone_and_says_what_is_new(folder: Path):
    names, weights = ["none", "forward", "reverse"], [1.0, 2.0, 0.5]
    new, report = with_head(folder, "token", "single_label", names, class_weights=weights)
    assert isinstance(new, HeliconForTokenClassification)
    assert new.training
    assert same(new.backbone, load(folder).backbone)
    assert report.unused == ("lm_head.weight", "lm_head.bias")
    assert report.new == ("classifier.layers.1.weight", "classifier.layers.1.bias")
    assert (new.config.labels, new.config.problem) == (names, "single_label")


def test_with_head_copies_the_backbone(model: HeliconForMaskedLM):
    new, _ = with_head(model, "sequence", "regression", 1)
    with torch.no_grad():
        next(new.parameters()).zero_()
    assert next(model.backbone.parameters()).any()


def test_a_head_s_settings_survive_the_folder(model: HeliconForMaskedLM, tmp_path: Path):
    new, _ = with_head(
        model,
        "sequence",
        "multi_label",
        ["a", "b"],
        pool="attention",
        head="mlp",
        dropout=0.25,
        class_weights=[3.0, 4.0],
    )
    again = load(save(new, tmp_path / "x"))
    assert isinstance(again, HeliconForSequenceClassification)
    assert same(new, again)
    assert again.config.problem == "multi_label"
    assert again.config.class_weights == [3.0, 4.0]
    assert again.classifier.layers[0].p == 0.25
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    weighted = again(IDS, MASK, labels).loss
    again.config.class_weights = None
    assert weighted != again(IDS, MASK, labels).loss


def test_wrong_heads_are_named(model: HeliconForMaskedLM):
    for arguments, message in (
        (("sequence", "single_label", ["only"]), "1 label: single_label needs more"),
        (("sequence", "regression", 0), "0 label: regression needs more"),
    ):
        with pytest.raises(InputError, match=message):
            with_head(model, *arguments)
    with pytest.raises(InputError, match="class_weights: 1 weights for 2 labels"):
        with_head(model, "token", "single_label", 2, class_weights=[1.0])
    with pytest.raises(InputError, match="class_weights: a regression has no classes"):
        with_head(model, "token", "regression", 2, class_weights=[1.0, 2.0])


def test_the_bare_backbone_is_a_model(tmp_path: Path):
    bare = HeliconModel(HeliconConfig.of(BACKBONE)).eval()
    again = load(save(bare, tmp_path / "x"))
    assert type(again) is HeliconModel
    assert torch.equal(again(IDS, MASK).last_hidden_state, bare.backbone(IDS, MASK.bool()))


def test_save_replaces_a_model_and_leaves_no_trace(model: HeliconForMaskedLM, folder: Path):
    with torch.no_grad():
        model.lm_head.bias.fill_(3)
    save(model, folder)
    assert torch.equal(load(folder).lm_head.bias, model.lm_head.bias)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    assert {p.name for p in folder.iterdir()} == FILES


def test_save_never_replaces_other_files(model: HeliconForMaskedLM, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
        save(model, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_bfloat16_weights_are_kept_in_the_file_and_read_as_float32(
    model: HeliconForMaskedLM, tmp_path: Path
):
    folder = save(model.bfloat16(), tmp_path / "x")
    assert {v.dtype for v in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    again = load(folder)
    assert again.dtype == torch.float32
    assert same(again, model.float())


def test_the_tokenizer_travels_with_the_model(folder: Path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("acgurn-")["input_ids"] == [0, 1, 2, 3, 4, 4, 4]
    assert tokenizer.decode([0, 1, 2, 3, 4]) == "ACGTN"
    assert tokenizer(["AC", "A"], padding=True, padding_side="left")["input_ids"][1] == [6, 0]


def test_load_takes_a_run_folder(folder: Path, model: HeliconForMaskedLM):
    (folder.parent / "recipe.toml").touch()
    assert same(load(folder.parent), model)


def test_load_takes_a_named_size_with_seeded_weights():
    torch.manual_seed(3)
    first = load("convnova-tiny")
    torch.manual_seed(3)
    second = load("convnova-tiny")
    assert isinstance(first, HeliconForMaskedLM)
    assert same(first, second) and not same(first, load("convnova-tiny"))
    assert not first.training


def test_base_with_its_head_is_the_published_pretraining_model():
    with torch.device("meta"):
        model = HeliconForMaskedLM(HeliconConfig.of(registry.size("convnova-base")))
    assert sum(p.numel() for p in model.parameters()) == 1_772_933


def edit(**changes: Any) -> Callable[[Path], None]:
    """Change keys of config.json; `None` removes one."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text()) | changes
        values = {key: value for key, value in values.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return damage


def cut(name: str, keep: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])

    return damage


def fields(**changes: Any) -> dict[str, Any]:
    values = registry.config_to_dict(BACKBONE) | changes
    return {key: value for key, value in values.items() if value is not None}


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "empty config": (cut("config.json", 0), "config.json: the file is empty"),
    "empty weights": (cut("model.safetensors", 0), "model.safetensors: the file is empty"),
    "cut config": (cut("config.json", 40), "config.json: is not JSON"),
    "cut weights": (cut("model.safetensors", 5000), "model.safetensors: damaged"),
    "cut header": (cut("model.safetensors", 5), "model.safetensors: damaged"),
    "other bytes": (
        lambda f: (f / "model.safetensors").write_bytes(b"<html>" * 99),
        "model.safetensors: damaged",
    ),
    "binary config": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe{"), "is not JSON"),
    "list config": (lambda f: (f / "config.json").write_text("[]"), "model_type is missing"),
    "no model type": (edit(model_type=None), "model_type is missing"),
    "other model": (edit(model_type="bert"), "holds a 'bert' model, not one of Helicon's"),
    "no architecture": (edit(architecture=None), "architecture is missing"),
    "no backbone": (edit(backbone=None), "backbone is missing"),
    "no class": (edit(architectures=None), "architectures is missing"),
    "other class": (edit(architectures=["BertModel"]), "must name one of HeliconModel, "),
    "other architecture": (edit(architecture="nova"), "architecture 'nova' is unknown"),
    "unknown field": (edit(backbone=fields(width=3)), "config.json: .* unknown key 'width'"),
    "lost field": (edit(backbone=fields(dilation=None)), "config.json: .*dilation missing"),
    "wrong field": (edit(backbone=fields(kernel="9")), "config.json: .*kernel must be int"),
    "wrong pool": (edit(pool="median"), "config.json: pool must be mean or max or attention"),
    "no dictionary": (edit(backbone=3), "config.json: "),
    "lost weight": (weights(lambda s: s.pop("backbone.stem.bias")), "lacks backbone.stem.bias"),
    "added weight": (
        weights(lambda s: s.update(extra=torch.zeros(1))),
        "holds unknown extra; the file does not belong to this config.json",
    ),
    "other shape": (
        weights(lambda s: s.update({"lm_head.bias": torch.zeros(6)})),
        r"lm_head.bias has shape \(6,\), not \(5,\)",
    ),
    "other size": (edit(backbone=fields(d_model=16)), r"has shape .*config.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_one_clear_line(name: str, folder: Path):
    damage, message = DAMAGES[name]
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_what_is_no_model_is_one_clear_line(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="holds neither a model nor a run"):
        load(tmp_path / "run")
    (tmp_path / "run" / "recipe.toml").touch()
    with pytest.raises(InputError, match="this run has no model yet"):
        load(tmp_path / "run")
    with pytest.raises(InputError, match="is a file, a model is a folder"):
        load(folder / "config.json")
    with pytest.raises(InputError, match="no such model folder"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="no such model folder"):
        load("./none")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run/mistyped: no such model folder"):
        load("run/mistyped")
    with pytest.raises(InputError, match=r"did you mean convnova-tiny\?"):
        load("convnova-tini")


def unreachable(*_: object) -> str:
    raise errors.LocalEntryNotFoundError("offline")


def absent(*_: object) -> str:
    raise errors.EntryNotFoundError("no such file")


@pytest.mark.parametrize(
    ("fetch", "message"),
    [
        (unreachable, "no such folder here, and Hugging Face cannot be reached"),
        (absent, "this Hugging Face model has no config.json or model.safetensors"),
    ],
)
def test_a_hub_model_that_cannot_be_had_is_one_clear_line(
    fetch: Any, message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    with pytest.raises(InputError, match=f"someone/some-model: {message}"):
        load("someone/some-model")


def test_a_hub_model_is_fetched_file_by_file(
    folder: Path, model: HeliconForMaskedLM, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "hf_hub_download", lambda _, name: str(folder / name))
    assert same(load("someone/some-model"), model)


def test_the_card_has_valid_front_matter_and_the_facts(model: HeliconForMaskedLM, tmp_path: Path):
    card = ModelCard(
        name='Gene: "finder" #1',
        summary="Finds genes.",
        data=("E. coli 536: NC_008253.1",),
        steps=1600,
        metrics=(Metric("mcc", 0.8123456, "held-out | blocks", "test"),),
        recipe='seed = 1\nname = "x"\n',
        base_model="runs/pretrained",
        licence="apache-2.0",
    )
    text = (save(model, tmp_path / "x", card) / "README.md").read_text()
    _, matter, body = text.split("---\n", 2)
    front = yaml.safe_load(matter)
    assert front["license"] == "apache-2.0"
    assert front["pipeline_tag"] == "fill-mask"
    assert front["model-index"][0]["name"] == card.name
    assert front["model-index"][0]["results"][0]["metrics"] == [{"type": "mcc", "value": 0.8123456}]
    for fact in ("| Receptive field | 25 positions |", "1,600", "| mcc | 0.8123 |", "seed = 1"):
        assert fact in body
    count = f"{sum(p.numel() for p in model.parameters()):,}"
    assert f"| Parameters | {count} |" in body


def test_a_card_needs_nothing(folder: Path):
    text = (folder / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["library_name"] == "helicon"
    assert "## Metrics" not in text and "## Recipe" not in text and "Licence" not in text
