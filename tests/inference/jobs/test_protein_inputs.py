"""Proteins through `embed` and `predict`: any length, any company, any letter; DNA verbs refuse."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_networks import protein_model, stir, write_genome

from helicon.alphabet import PROTEIN
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.embed import embed
from helicon.inference.mutagenesis.mutagenesis import mutagenesis
from helicon.inference.predict import predict
from helicon.inference.tracks.track import track
from helicon.inference.variants.variants import variants
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.hub import save, with_head

LENGTHS = (1, 3, 700, 40, 300, 2, 61, 41, 40)
LETTERS = "ACDEFGHIKLMNPQRSTVWYBZXJOU*"


@pytest.fixture
def model(tmp_path):
    return save(protein_model(), tmp_path / "model")


@pytest.fixture
def proteins(tmp_path):
    """A FASTA file with every letter, in either case, CRLF, and stop codons at the ends."""
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list(LETTERS), n)).rstrip("*") or "M" for n in LENGTHS]
    path = tmp_path / "p.fa"
    path.write_bytes(
        b"".join(
            f">p{i}\r\n{text.lower() if i % 2 else text}{'*' * (i % 3 == 0)}\r\n".encode()
            for i, text in enumerate(texts)
        )
    )
    return path, texts


def alone(text: str, layer: int | None = None) -> np.ndarray:
    """Features (L, D) from one pass over the protein by itself."""
    ids = torch.from_numpy(PROTEIN.encode(text).astype(np.int64))[None]
    with torch.no_grad():
        return protein_model().backbone(ids, None, layer)[0].numpy()


def matrix(path) -> np.ndarray:
    return np.stack(pq.read_table(path)["embedding"].to_numpy(zero_copy_only=False))


@pytest.fixture(params=["whole", "tiles"])
def cuts(request, monkeypatch):
    if request.param == "tiles":
        monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 50)
        monkeypatch.setattr("helicon.forward.tiles.letters_at_once", lambda _: 50)


@pytest.mark.parametrize("layer", [None, 0, 2, 4])
def test_every_layer(tmp_path, model, proteins, cuts, layer):
    embed(model, proteins[0], out=tmp_path / "e.parquet", layer=layer)
    wanted = [alone(text, layer).mean(0) for text in proteins[1]]
    np.testing.assert_allclose(matrix(tmp_path / "e.parquet"), wanted, atol=1e-5)


def test_the_last_layer_is_what_the_output_normalises(tmp_path, model, proteins):
    for name, layer in (("sum", 4), ("output", None)):
        embed(model, proteins[0], out=tmp_path / f"{name}.npy", layer=layer, pool="none")
    stream, output = (np.load(tmp_path / f"{name}.npy") for name in ("sum", "output"))
    with torch.no_grad():
        normed = protein_model().backbone.norm(torch.from_numpy(stream)).numpy()
    assert np.abs(stream - output).max() > 0.1
    np.testing.assert_allclose(normed, output, atol=1e-5)


def test_every_residue(tmp_path, model, proteins, cuts):
    embed(model, proteins[0], out=tmp_path / "e.npy", pool="none")
    keys = pq.read_table(tmp_path / "e.rows.parquet")
    assert keys["position"].to_pylist() == [at for text in proteins[1] for at in range(len(text))]
    assert keys.schema.metadata[b"coordinates"] == b"0-based"
    wanted = np.concatenate([alone(text) for text in proteins[1]])
    np.testing.assert_allclose(np.load(tmp_path / "e.npy"), wanted, atol=1e-5)


def test_company_changes_nothing(tmp_path, model, proteins):
    embed(model, proteins[0], out=tmp_path / "all.npy")
    rows = np.random.default_rng(0).permutation(len(LENGTHS))[:5]
    (tmp_path / "some.csv").write_text("seq\n" + "".join(f"{proteins[1][i]}\n" for i in rows))
    embed(model, tmp_path / "some.csv", out=tmp_path / "some.npy")
    a, b = np.load(tmp_path / "all.npy"), np.load(tmp_path / "some.npy")
    np.testing.assert_allclose(a[rows], b, atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "none"])
def test_thirty_thousand_residues_are_not_cut(tmp_path, pool):
    config = ByteNetConfig(d_model=4, blocks=8, slim=True, d_embedding=2)
    model = stir(protein_model(config))
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list(PROTEIN.letters[:20]), 30_000))
    (tmp_path / "p.fa").write_text(f">long\n{text}\n")
    out = tmp_path / "e.npy"
    embed(save(model, tmp_path / "model"), tmp_path / "p.fa", out=out, pool=pool, window=6000)
    ids = torch.from_numpy(PROTEIN.encode(text).astype(np.int64))[None]
    with torch.no_grad():
        wanted = model.backbone(ids)[0].numpy()
    found = np.load(out)
    assert found.shape == ((30_000, 4) if pool == "none" else (1, 4))
    wanted = wanted if pool == "none" else wanted.mean(0, keepdims=True, dtype=np.float64)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_protein_that_fits_in_a_window_is_read_once(model, proteins, tmp_path, monkeypatch):
    monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 50)
    monkeypatch.setattr("helicon.forward.tiles.letters_at_once", lambda _: 50)
    read = []
    real = Network.features
    monkeypatch.setattr(
        Network,
        "features",
        lambda self, ids, *a, **k: read.append(math.prod(ids.shape)) or real(self, ids, *a, **k),
    )
    embed(model, proteins[0], out=tmp_path / "e.npy")
    assert sum(read) < 1.3 * sum(LENGTHS) + 256


def test_predictions(tmp_path, proteins):
    heads = with_head(protein_model(), "token", "single_label", ("helix", "sheet", "coil"))[0]
    folder = save(stir(heads), tmp_path / "heads")
    predict(folder, proteins[0], out=tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert len(table) == sum(map(len, proteins[1]))
    network = Network.open(folder)
    text = proteins[1][3]
    rows = np.flatnonzero(np.array(table["name"].to_pylist()) == "p3")
    wanted = torch.from_numpy(network.logits(PROTEIN.encode(text)[None])[0]).softmax(-1)[:, 1]
    found = table["probability/sheet"].to_numpy()[rows]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_verbs_of_dna_refuse_proteins_in_one_line(tmp_path, model, proteins):
    genome = write_genome(tmp_path / "g.fa", [50])
    (tmp_path / "v.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\n")
    out = tmp_path / "o.parquet"
    calls = {
        "reads no DNA": lambda: track(model, genome, out=tmp_path / "o.bw"),
        "this model reads no DNA": lambda: variants(
            model, tmp_path / "v.vcf", reference=genome, out=out
        ),
        "`helicon mutants` scores every": lambda: mutagenesis(model, proteins[0], out=out),
        "or use `helicon mutants`": lambda: predict(model, proteins[0], out=out),
        "this model does not read DNA": lambda: embed(model, genome, out=out, regions=genome),
        "both_strands: ": lambda: embed(model, proteins[0], out=out, both_strands=True),
    }
    for words, call in calls.items():
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
    heads = with_head(protein_model(), "token", "single_label", ("a", "b"))[0]
    with pytest.raises(InputError, match="one class to every base"):
        predict(save(heads, tmp_path / "heads"), genome, out=tmp_path / "o.gff3")
    assert not out.exists()
