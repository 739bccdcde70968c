"""Folders as people and strangers have them: shards, other precisions, links, lies."""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from helicon.errors import InputError
from helicon.models import registry
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.chordmixer.network import ChordMixerConfig
from helicon.models.convert import convert
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save, with_head
from helicon.models.huggingface.folder import weights_hash
from helicon.models.transformer.network import TransformerConfig

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


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def in_shards(folder: Path) -> dict[str, str]:
    """Put the weights into two files; give the index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    where = {key: names[i % 2] for i, key in enumerate(state)}
    for name in names:
        save_file({k: v for k, v in state.items() if where[k] == name}, folder / name)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return where


# ---------------------------------------------------------------- weights


def test_weights_in_shards_are_read(model: HeliconForMaskedLM, folder: Path):
    in_shards(folder)
    assert same(load(folder), model)
    assert same(AutoModelForMaskedLM.from_pretrained(folder), model)


def test_shards_of_the_library_are_read(model: HeliconForMaskedLM, tmp_path: Path):
    model.save_pretrained(tmp_path / "x", max_shard_size="2KB")
    assert (tmp_path / "x" / "model.safetensors.index.json").exists()
    assert same(load(tmp_path / "x"), model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda where: where.clear(), "weight_map names no files"),
        (lambda where: where.update(a="../other.safetensors"), "is no file of this folder"),
        (lambda where: where.update(a="/etc/passwd"), "is no file of this folder"),
        (lambda where: where.update(a=3), "weight_map names no files"),
        (lambda where: where.update(a="third.safetensors"), "third.safetensors is missing"),
    ],
)
def test_a_wrong_index_is_one_line(change: Callable[[dict], object], said: str, folder: Path):
    where: dict[str, Any] = in_shards(folder)
    change(where)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with pytest.raises(InputError, match=said):
        load(folder)


def test_the_hash_of_weights_covers_every_shard(folder: Path):
    whole = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert weights_hash(folder) == whole
    in_shards(folder)
    first = weights_hash(folder)
    assert first not in (None, whole) and weights_hash(folder) == first
    for shard in folder.glob("model-*.safetensors"):
        before = shard.read_bytes()
        state = load_file(shard)
        state[min(state)] += 1
        save_file(state, shard)
        assert weights_hash(folder) != first
        shard.write_bytes(before)
    assert weights_hash("") is None and weights_hash(folder.parent) is None


def test_a_lost_shard_is_named(folder: Path):
    in_shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"model-00002-of-00002.safetensors is missing"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(
    dtype: torch.dtype, model: HeliconForMaskedLM, folder: Path, capsys: pytest.CaptureFixture
):
    state = {key: value.to(dtype) for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    again = load(folder)
    assert {value.dtype for value in again.state_dict().values()} == {torch.float32}
    assert all(torch.equal(v, state[k].float()) for k, v in again.state_dict().items())
    assert f"stored in {str(dtype)[6:]} are read as float32" in capsys.readouterr().err


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused(value: float, folder: Path):
    state = load_file(folder / "model.safetensors")
    state["lm_head.bias"][2] = value
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"lm_head.bias holds values that are no finite numbers"):
        load(folder)


def test_integers_are_no_weights(folder: Path):
    state = load_file(folder / "model.safetensors")
    state["lm_head.bias"] = state["lm_head.bias"].to(torch.int8)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"lm_head.bias is int8, not float32"):
        load(folder)


def test_pickled_weights_are_converted_and_never_opened(
    model: HeliconForMaskedLM, folder: Path, tmp_path: Path
):
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"are pickled .*; run `helicon convert .*pytorch_model.bin OUT`"
    ):
        load(folder)
    report = convert(folder / "pytorch_model.bin", tmp_path / "out")
    assert (report.source, report.unused) == ("helicon", ())
    assert same(load(report.folder), model)
    with pytest.raises(InputError, match="tells everything; leave out --dilation"):
        convert(folder / "pytorch_model.bin", tmp_path / "other", dilation=4)


# ---------------------------------------------------------------- strangers


class Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_stranger_s_code_is_never_run(folder: Path, tmp_path: Path):
    trace = tmp_path / "trace"
    (folder / "modeling.py").write_text(f"open({str(trace)!r}, 'w')")
    edit(folder, auto_map={"AutoModelForMaskedLM": "modeling.Model", "AutoConfig": "modeling.C"})
    load(folder)
    torch.save(Runs(trace), folder / "pytorch_model.bin")
    load(folder)
    (folder / "model.safetensors").unlink()
    for read in (load, lambda path: convert(path / "pytorch_model.bin", tmp_path / "out")):
        with pytest.raises(InputError):
            read(folder)
    torch.save(Runs(trace), folder / "model.safetensors")
    with pytest.raises(InputError, match=r"model.safetensors: damaged"):
        load(folder)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_out_of_the_folder_are_refused(name: str, folder: Path, tmp_path: Path):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: is a link out of the model's folder"):
        load(folder)


def test_the_links_of_hugging_face_s_cache_are_followed(
    model: HeliconForMaskedLM, folder: Path, tmp_path: Path
):
    home = tmp_path / "models--someone--model"
    (home / "blobs").mkdir(parents=True)
    (home / "snapshots" / "abc").mkdir(parents=True)
    for path in folder.iterdir():
        path.rename(home / "blobs" / path.name)
        (home / "snapshots" / "abc" / path.name).symlink_to(f"../../blobs/{path.name}")
    assert same(load(home / "snapshots" / "abc"), model)


@pytest.mark.parametrize(
    "header",
    [
        {"lm_head.bias": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"lm_head.bias": {"dtype": "F32", "shape": [5], "data_offsets": [0, 2]}},
        {"lm_head.bias": {"dtype": "F32", "shape": [-5], "data_offsets": [0, 20]}},
    ],
)
def test_a_header_that_lies_is_one_line(header: dict[str, Any], folder: Path):
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + bytes(20)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model.safetensors: damaged"):
        load(folder)


CONFIGS = {
    "convnova": BACKBONE,
    "bytenet": ByteNetConfig(d_model=8, blocks=2),
    "chordmixer": ChordMixerConfig(group=2, groups=4, layers=2, blocks=2, hidden=8),
    "transformer": TransformerConfig(d_model=8, blocks=2, heads=2),
}


@pytest.mark.parametrize("size", [10**5, 10**9, 10**18])
@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_without_weights_build_nothing(name: str, size: int, tmp_path: Path):
    config = CONFIGS[name]
    folder = save(HeliconForMaskedLM(HeliconConfig.of(config)), tmp_path / "model")
    values = registry.config_to_dict(config)
    for field, value in values.items():
        if type(value) is int and field != "circle":
            edit(folder, backbone=values | {field: size})
            try:
                load(folder)
            except InputError as error:
                assert "\n" not in str(error) and str(folder) in str(error)
            else:
                assert field in ("dilation", "max_dilation")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, r"id2label: ids must be 0 to 1, not \[0, 2\]"),
        ({"id2label": ["a"]}, "id2label must name the outputs by their ids"),
        ({"id2label": {"a": "0"}}, "id2label must name the outputs by their ids"),
        ({"id2label": {"0": 1}}, "1 is no name"),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "id2label: 0 and 2 have one name, 'a'"),
        ({"num_labels": 10**9}, "num_labels is 1e[+]09, more than its weights file has room for"),
        ({"problem_type": "ranking"}, "problem_type must be single_label_classification or"),
        ({"cls_tokens": -1}, "cls_tokens must be an integer of at least 0, not -1"),
        ({"cls_tokens": "3"}, "cls_tokens must be an integer"),
        ({"head_dropout": 7.0}, r"head_dropout must be in \[0, 1\), not 7.0"),
        ({"pair_blocks": 0}, "pair_blocks must be an integer of at least 1"),
        ({"class_weights": ["a", "b"]}, "class_weights must be finite numbers"),
        ({"architecture": ["x"]}, "architecture must be a name"),
        ({"dtype": "float99"}, "float99"),
        ({"backbone": []}, "backbone must be the network's settings"),
    ],
)
def test_wrong_values_of_a_config_are_one_line(values: dict[str, Any], said: str, folder: Path):
    edit(folder, **values)
    with pytest.raises(InputError, match=said) as caught:
        load(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_deep_config_is_one_line(folder: Path):
    (folder / "config.json").write_text('{"a":' * 200_000 + "1" + "}" * 200_000)
    with pytest.raises(InputError, match=r"config.json: is nested too deeply"):
        load(folder)


# ---------------------------------------------------------------- the library's tools


def test_every_layer_is_a_hidden_state(model: HeliconForMaskedLM, folder: Path):
    found = model(IDS, MASK, output_hidden_states=True)
    assert len(found.hidden_states) == model.backbone.layers + 1
    for number, state in enumerate(found.hidden_states):
        assert torch.equal(state, model.backbone(IDS, MASK.bool(), number))
    assert model(IDS, MASK).hidden_states is None
    assert len(model(IDS, output_hidden_states=True, return_dict=False)) == 2
    opened = AutoModelForMaskedLM.from_pretrained(folder, output_hidden_states=True)
    assert len(opened(IDS, MASK).hidden_states) == 3
    head, _ = with_head(model, "token", "single_label", 2)
    assert len(head(IDS, MASK, output_hidden_states=True).hidden_states) == 3


def test_hidden_states_of_cells_stand_where_their_letters_do():
    config = ConvNovaConfig(d_model=8, blocks=4, downsample=True, dilation=2)
    model = HeliconForMaskedLM(HeliconConfig.of(config)).eval()
    padded = torch.cat([torch.full((1, 3), 6), IDS[:1]], dim=1)
    mask = torch.tensor([[0] * 3 + [1] * 6])
    found = model(padded, mask, output_hidden_states=True).hidden_states
    for number, state in enumerate(found):
        wanted = model.backbone(IDS[:1], None, number)
        torch.testing.assert_close(state[:, 3:], wanted, atol=1e-5, rtol=0)


def test_what_these_networks_do_not_have_is_refused_by_name(model: HeliconForMaskedLM):
    with pytest.raises(InputError, match="inputs_embeds: these networks read letters"):
        model(inputs_embeds=torch.zeros(1, 6, 8))
    with pytest.raises(InputError, match="output_attentions: these networks give none"):
        model(IDS, output_attentions=True)


def test_a_classifier_of_the_library_s_making_is_a_model(folder: Path, tmp_path: Path):
    two = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    assert two.config.problem_type is None
    two.save_pretrained(tmp_path / "two")
    again = load(tmp_path / "two")
    assert (again.config.problem, again.config.labels) == ("single_label", ["LABEL_0", "LABEL_1"])
    assert same(again, two)
    one = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    one.save_pretrained(tmp_path / "one")
    assert load(tmp_path / "one").config.problem == "regression"
    two(IDS, MASK, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))  # its first loss says what it solves
    two.save_pretrained(tmp_path / "two")
    assert load(tmp_path / "two").config.problem == "multi_label"


def test_class_names_go_by_their_ids(model: HeliconForMaskedLM, tmp_path: Path):
    names = [f"class {i}" for i in range(12)]
    folder = save(with_head(model, "sequence", "single_label", names)[0], tmp_path / "x")
    values = json.loads((folder / "config.json").read_text())
    edit(folder, id2label=dict(sorted(values["id2label"].items())))
    assert load(folder).config.labels == names


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_trains_a_classifier(model: HeliconForMaskedLM):
    peft = pytest.importorskip("peft")
    head, _ = with_head(model, "sequence", "single_label", 2)
    wanted = head.eval()(IDS, MASK).logits
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["mlp.0"])
    adapted = peft.get_peft_model(head, settings)
    found = adapted(input_ids=IDS, attention_mask=MASK, labels=torch.tensor([0, 1]))
    assert torch.equal(found.logits, wanted)
    found.loss.backward()
    assert (
        adapted.base_model.model.classifier.modules_to_save["default"].layers[1].weight.grad.any()
    )


def test_peft_says_that_it_adapts_no_convolution(model: HeliconForMaskedLM):
    peft = pytest.importorskip("peft")
    head, _ = with_head(model, "sequence", "single_label", 2)
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["conv"])
    with pytest.raises(ValueError, match=r"Conv\(8, 8, kernel=9, dilation=1\) is not supported"):
        peft.get_peft_model(head, settings)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_alone_is_merged_first(model: HeliconForMaskedLM, tmp_path: Path):
    peft = pytest.importorskip("peft")
    head, _ = with_head(model, "sequence", "single_label", 2)
    head = load(save(head, tmp_path / "head"))
    settings = peft.LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=["mlp.0"], init_lora_weights=False
    )
    adapted = peft.get_peft_model(head, settings).eval()
    wanted = adapted(input_ids=IDS, attention_mask=MASK).logits
    adapted.save_pretrained(tmp_path / "adapter")
    said = r"holds an adapter of PEFT .*merge_and_unload\(\)\.save_pretrained\('OUT'\)"
    with pytest.raises(InputError, match=said) as caught:
        load(tmp_path / "adapter")
    assert "\n" not in str(caught.value)
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "head")
    whole = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload()
    whole.save_pretrained(tmp_path / "whole")
    again = load(tmp_path / "whole")
    torch.testing.assert_close(again(IDS, MASK).logits, wanted, atol=1e-6, rtol=0)


def test_a_hidden_folder_of_somebody_is_never_replaced(tmp_path):
    (tmp_path / "lm" / ".git").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds other files \(\.git\)"):
        save(HeliconForMaskedLM(HeliconConfig.of(ConvNovaConfig(d_model=8))), tmp_path / "lm")
    assert (tmp_path / "lm" / ".git").is_dir()
