"""Models that pool CLS tokens: embedded, asked for predictions, and refused where they must be."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_networks import stir, write_genome

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.embed import embed
from helicon.inference.mutagenesis.attribution import Quantity, channels_first, gradient
from helicon.inference.mutagenesis.mutagenesis import mutagenesis
from helicon.inference.predict import predict
from helicon.inference.variants.variants import variants
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save, with_head

COUNT = 2


def language_model(seed=0):
    torch.manual_seed(seed)
    config = HeliconConfig.of(ConvNovaConfig(d_model=8, blocks=4, kernel=5, dilation=2))
    config.cls_tokens = COUNT
    return stir(HeliconForMaskedLM(config), seed)


@pytest.fixture
def run(tmp_path):
    """The folder of a self-distilled run, as far as models go."""
    save(language_model(0), tmp_path / "run" / "model")
    save(language_model(1), tmp_path / "run" / "student")
    return tmp_path / "run"


@pytest.fixture
def headed(tmp_path):
    model, _ = with_head(language_model(), "sequence", "single_label", ("no", "yes"), pool="cls")
    return save(stir(model), tmp_path / "headed")


@pytest.fixture
def sequences(tmp_path):
    rng = np.random.default_rng(1)
    texts = [DNA.decode(rng.integers(0, 5, n)) for n in (1, 7, 300, 7, 29, 1200, 64)]
    path = tmp_path / "s.fa"
    path.write_text("".join(f">s{i}\n{text}\n" for i, text in enumerate(texts)))
    return path, texts


def pooled(model, text, *, layer=None, reverse=False):
    ids = DNA.encode(text)
    ids = DNA.reverse_complement(ids).copy() if reverse else ids
    with torch.no_grad():
        return model.cls_features(torch.from_numpy(ids)[None].long(), layer=layer)[0].mean(0)


def matrix(path):
    return np.stack(pq.read_table(path)["embedding"].to_numpy(zero_copy_only=False))


@pytest.mark.parametrize(("network", "seed"), [(None, 0), ("student", 1)])
@pytest.mark.parametrize(("layer", "both"), [(None, False), (2, True)])
def test_embeddings_are_those_of_each_sequence_alone(
    tmp_path, run, sequences, network, seed, layer, both, monkeypatch
):
    monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 100)
    path, texts = sequences
    out = tmp_path / "e.parquet"
    embed(run, path, out=out, pool="cls", network=network, layer=layer, both_strands=both)
    model, found = language_model(seed), matrix(out)
    for text, vector in zip(texts, found, strict=True):
        wanted = pooled(model, text, layer=layer)
        if both:
            wanted = (wanted + pooled(model, text, layer=layer, reverse=True)) / 2
        np.testing.assert_allclose(vector, wanted, atol=1e-5)
    said = {k.decode(): v.decode() for k, v in pq.read_schema(out).metadata.items()}
    assert said["model"] == str(run) and said.get("network") == network
    assert said["model_sha256"] == Network(model).digest


def test_the_number_of_tokens_is_part_of_what_a_model_is():
    model = language_model()
    before = Network(model).digest
    model.config.cls_tokens = COUNT + 1
    assert Network(model).digest != before


@pytest.mark.parametrize("options", [{"window": 100}, {"context": True, "regions": "r.bed"}])
def test_what_would_cut_a_sequence_is_one_clear_line(tmp_path, run, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fasta = write_genome(tmp_path / "g.fa", [700])
    (tmp_path / "r.bed").write_text("c0\t0\t40\n")
    with pytest.raises(InputError, match="CLS tokens stand behind whole sequences") as caught:
        embed(run, fasta, out=tmp_path / "e.parquet", pool="cls", **options)
    assert "\n" not in str(caught.value)


def test_a_sequence_too_long_to_be_read_whole_is_refused(tmp_path, run, sequences, monkeypatch):
    monkeypatch.setattr("helicon.forward.memory.free_bytes", lambda _: 20_000)
    with pytest.raises(InputError, match=r"needs about .* use a machine with more"):
        embed(run, sequences[0], out=tmp_path / "e.parquet", pool="cls")


def test_predictions_are_those_of_the_model(tmp_path, headed, sequences, monkeypatch):
    monkeypatch.setattr("helicon.inference.jobs.passes.letters_at_once", lambda _: 100)
    path, texts = sequences
    predict(headed, path, out=tmp_path / "p.parquet")
    model, found = load(headed), pq.read_table(tmp_path / "p.parquet")
    for text, probability in zip(texts, found["probability/yes"].to_pylist(), strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(DNA.encode(text))[None].long()).logits[0]
        assert probability == pytest.approx(logits.softmax(0)[1].item(), abs=1e-5)
        ids = DNA.encode(text)[None]
        np.testing.assert_allclose(Network(model).logits(ids)[0], logits, atol=1e-5)


def test_gradients_go_through_the_tokens(headed):
    network = Network.open(headed)
    ids = DNA.encode("ACGTTGCAAC")
    rows = torch.nn.functional.one_hot(torch.from_numpy(ids).long(), 5).float()[None]
    rows.requires_grad_()
    network.model(rows).logits[0, 1].backward()
    np.testing.assert_allclose(gradient(network, ids, Quantity(1)), rows.grad[0, :, :4], atol=1e-6)
    found = channels_first(network, "yes")(rows[..., :4].detach().transpose(1, 2))
    assert found.item() == pytest.approx(network.logits(ids[None])[0, 1], abs=1e-5)


def test_scores_of_substitutions_are_refused_but_for_features(tmp_path, headed):
    fasta = write_genome(tmp_path / "g.fa", [60])
    with pytest.raises(InputError, match="pools CLS tokens, which every substitution changes"):
        mutagenesis(headed, fasta, out=tmp_path / "m.parquet")
    mutagenesis(headed, fasta, out=tmp_path / "e.parquet", score=["embedding"])
    mutagenesis(headed, fasta, out=tmp_path / "g.parquet", method="gradient")
    assert len(pq.read_table(tmp_path / "g.parquet")) == len(pq.read_table(tmp_path / "e.parquet"))
    (tmp_path / "v.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=c0>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    with pytest.raises(InputError, match="pools CLS tokens, which every variant changes"):
        variants(headed, tmp_path / "v.vcf", reference=fasta, out=tmp_path / "v.parquet")
