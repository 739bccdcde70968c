"""Contacts that `predict` writes are the most probable pairs of the model's own map."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from small_networks import stir

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.embed import embed
from helicon.inference.jobs import keyed
from helicon.inference.predict import predict
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save
from helicon.models.huggingface.contacts import with_pair_head
from helicon.models.parts import pair_head

LENGTHS = (40, 5, 130, 71, 6, 1)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    source = HeliconForMaskedLM(HeliconConfig.of(ByteNetConfig(8, 2, max_dilation=2)))
    headed = stir(with_pair_head(source, width=8, blocks=3))
    torch.nn.init.zeros_(headed.pair_head.out.bias)  # probabilities around a half
    return str(save(headed, tmp_path / "model"))


@pytest.fixture
def proteins(tmp_path):
    rng = np.random.default_rng(0)
    texts = [PROTEIN.decode(rng.integers(0, 20, n).astype(np.uint8)) for n in LENGTHS]
    path = tmp_path / "p.fasta"
    path.write_text("".join(f">q{i}\n{text}\n" for i, text in enumerate(texts)))
    return path


def own_map(model, proteins, k):
    """Probabilities that the model gives for one protein by itself, (L, L)."""
    text = proteins.read_text().split("\n")[2 * k + 1]
    ids = torch.from_numpy(PROTEIN.encode(text)).long().unsqueeze(0)
    with torch.no_grad():
        return load(model)(ids).logits[0].sigmoid().numpy()


@pytest.fixture(params=["whole", "tiles"])
def cuts(request, monkeypatch):
    """Once as it is, once with small tiles of maps and of proteins, and small shards."""
    if request.param == "tiles":
        monkeypatch.setattr(pair_head, "TILE", 24)
        monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 50)
        monkeypatch.setattr("helicon.forward.tiles.letters_at_once", lambda _: 50)
        monkeypatch.setattr(keyed, "letters_each", lambda _: 60)


@pytest.mark.usefixtures("cuts")
@pytest.mark.parametrize(
    ("options", "limit", "least"),
    [({}, 2.0, 0.0), ({"pairs": 0.5}, 0.5, 0.0), ({"threshold": 0.5}, None, 0.5),
     ({"pairs": 1.0, "threshold": 0.5}, 1.0, 0.5)],
)  # fmt: skip
def test_the_most_probable_pairs_are_written(tmp_path, model, proteins, options, limit, least):
    done = predict(model, proteins, out=tmp_path / "c.parquet", accelerator="cpu", **options)
    assert done.sequences == len(LENGTHS)
    frame = pl.read_parquet(tmp_path / "c.parquet")
    assert frame.columns == ["name", "i", "j", "probability"]
    assert frame["name"].unique(maintain_order=True).to_list() == ["q0", "q2", "q3"]
    for k, length in ((0, 40), (2, 130), (3, 71)):
        rows = frame.filter(pl.col("name") == f"q{k}")
        expected = own_map(model, proteins, k)
        i, j = np.triu_indices(length, 6)
        ranked = np.sort(expected[i, j][expected[i, j] >= least])[::-1]
        if limit is not None:
            ranked = ranked[: int(limit * length)]
        assert len(ranked)
        assert rows["probability"].to_numpy() == pytest.approx(ranked, abs=1e-5)
        told = expected[rows["i"].to_numpy(), rows["j"].to_numpy()]
        assert rows["probability"].to_numpy() == pytest.approx(told, abs=1e-5)
        assert (rows["j"] - rows["i"]).min() >= 6
        assert rows.select("i", "j").is_unique().all()


def test_the_file_says_how_it_was_made(tmp_path, model, proteins):
    predict(model, proteins, out=tmp_path / "c.parquet", accelerator="cpu")
    said = pq.read_schema(tmp_path / "c.parquet").metadata
    assert said[b"coordinates"] == b"residues, 0-based, i before j"
    assert said[b"pairs_per_residue"] == b"2.0"
    assert said[b"separation"] == b"6"
    assert said[b"model_sha256"] == Network(load(model)).digest.encode()


def test_the_features_are_those_of_the_backbone(tmp_path, model, proteins):
    embed(model, proteins, out=tmp_path / "e.parquet", accelerator="cpu")
    vectors = np.stack(pl.read_parquet(tmp_path / "e.parquet")["embedding"].to_list())
    text = proteins.read_text().split("\n")[1]
    ids = torch.from_numpy(PROTEIN.encode(text)).long().unsqueeze(0)
    with torch.no_grad():
        expected = load(model).backbone(ids).mean(1)[0].numpy()
    assert vectors[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pairs": 0.0}, "pairs: must be more than 0"),
        ({"threshold": 1.5}, "threshold: is a probability"),
        ({"grammar": "genes"}, "predicts contacts of proteins"),
        ({"regions": "r.bed"}, "leave out regions"),
        ({"both_strands": True}, "leave out regions, both_strands"),
    ],
)
def test_options_without_meaning_are_refused(tmp_path, model, proteins, options, words):
    with pytest.raises(InputError, match=words):
        predict(model, proteins, out=tmp_path / "c.parquet", accelerator="cpu", **options)
    assert not (tmp_path / "c.parquet").exists()


def test_other_models_have_no_pairs(tmp_path, folders, proteins):
    with pytest.raises(InputError, match="pairs, threshold: are for a model of contacts"):
        predict(folders["sequence"], proteins, out=tmp_path / "c.parquet", pairs=2)


def test_a_head_of_pairs_is_no_head_of_positions(model):
    network = Network(load(model))
    with pytest.raises(InputError, match="predicts pairs of residues"):
        network.head(torch.zeros(1, 4, 8))
