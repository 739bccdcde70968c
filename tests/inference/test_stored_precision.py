"""What a model says does not depend on the number type in which its weights are stored or held."""

import copy

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small_networks import language_model, sequence_model
from transformers import AutoModelForSequenceClassification

from helicon.forward.network import Network
from helicon.inference.embed import embed
from helicon.inference.predict import predict
from helicon.models.hub import load, save

OTHERS = [torch.float16, torch.bfloat16, torch.float64]


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("ACGT"), n)) for n in (40, 9, 120)]
    pl.DataFrame({"id": ["a", "b", "c"], "sequence": texts}).write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


def held_exactly(model):
    """The same model with weights that every type holds exactly, so that all must agree."""
    return model.bfloat16().float().half().float()


@pytest.mark.parametrize("dtype", OTHERS)
def test_folders_of_any_precision_embed_and_predict_as_float32(tmp_path, table, dtype):
    whole = save(held_exactly(sequence_model()), tmp_path / "whole")
    other = save(load(whole).to(dtype), tmp_path / "other")
    assert {v.dtype for v in load_file(other / "model.safetensors").values()} == {dtype}
    for verb in (embed, predict):
        found = []
        for folder in (whole, other):
            out = tmp_path / f"{verb.__name__}-{folder.name}.parquet"
            verb(folder, table, out=out)
            found.append(pq.read_table(out).replace_schema_metadata(None))
        assert found[0].equals(found[1])


@pytest.mark.parametrize("dtype", OTHERS)
def test_a_model_held_in_another_precision_computes_in_float32(dtype):
    model = held_exactly(language_model())
    ids = np.array([[0, 1, 2, 3, 3, 2, 1, 0]], dtype=np.uint8)
    wanted = Network(copy.deepcopy(model))
    other = Network(copy.deepcopy(model).to(dtype))
    assert {value.dtype for value in other.model.parameters()} == {torch.float32}
    np.testing.assert_array_equal(other.logits(ids), wanted.logits(ids))
    assert other.digest == wanted.digest


def test_a_classifier_of_the_library_s_making_predicts(tmp_path, table, folders):
    two = AutoModelForSequenceClassification.from_pretrained(folders["language"], num_labels=2)
    two.save_pretrained(tmp_path / "two")
    predict(tmp_path / "two", table, out=tmp_path / "p.parquet")
    found = pl.read_parquet(tmp_path / "p.parquet")
    said = found.select("probability/LABEL_0", "probability/LABEL_1").row(0)
    ids = load(folders["language"]).backbone.alphabet.encode(pl.read_csv(table)["sequence"][0])
    with torch.no_grad():
        wanted = two.eval()(torch.from_numpy(ids.astype(np.int64))[None]).logits.softmax(-1)
    np.testing.assert_allclose(said, wanted[0], atol=1e-6)
