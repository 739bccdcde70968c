"""A score of one's own, registered from outside the package, is one for `variants`."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_networks import language_model, write_genome

from helicon.cli.application import main
from helicon.data.genome.genome import Genome
from helicon.forward.network import Network
from helicon.inference.variants.scores import registry
from helicon.inference.variants.scores.features import MeanFeatures
from helicon.inference.variants.scores.score import Evidence, Pass, Score


class CentralNorm(Evidence):
    """The features' size where the allele begins."""

    def of_pair(self, pair, strand):
        for view, sign in ((pair.ref, -1), (pair.alt, 1)):
            yield Pass(view.ids, lambda x, v=view, sign=sign: sign * x[v.first].norm())


def manhattan(means):
    return (means[:, 1] - means[:, 0]).abs().sum(1)


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.setattr(registry, "SCORES", dict(registry.SCORES))
    heads = ("language", "bare")
    registry.register(Score("mine", "change of the size", CentralNorm(), heads))
    registry.register(Score("manhattan", "sum of changes", MeanFeatures(), heads, manhattan))


def test_a_score_of_ones_own(mine, folders, tmp_path):
    genome = Genome.open(write_genome(tmp_path / "g.fa", [200], 1))
    letters = "ACGT"
    ids = genome.fetch(0, 0, 200)
    at = 100
    old, new = letters[ids[at]], letters[(ids[at] + 1) % 4]
    (tmp_path / "a.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"c0\t{at + 1}\t.\t{old}\t{new},{old}{new}\t.\t.\t.\n"
    )
    words = ["variants", folders["language"], tmp_path / "a.vcf", "--reference", tmp_path / "g.fa"]
    words += ["--score", "mine", "--score", "manhattan", "--no-both-strands", "--out"]
    assert main([*map(str, words), str(tmp_path / "o.parquet")]) == 0
    table = pq.read_table(tmp_path / "o.parquet")
    network = Network(language_model())
    changed = ids.copy()
    changed[at] = (ids[at] + 1) % 4
    before, after = (network.features(one[None])[0] for one in (ids, changed))
    expected = float(after[at].norm() - before[at].norm())
    np.testing.assert_allclose(table["mine"][0].as_py(), expected, atol=1e-5)
    difference = (after - before)[at - network.halo : at + network.halo + 1].mean(0)
    np.testing.assert_allclose(
        table["manhattan"][0].as_py(), float(difference.abs().sum()), atol=1e-5
    )
    assert np.isfinite(table["mine"][1].as_py())
    assert main([*map(str, words), str(tmp_path / "o.vcf")]) == 0
    assert b"ID=HELICON_MINE,Number=A" in (tmp_path / "o.vcf").read_bytes()


def test_names_are_taken_once(mine):
    with pytest.raises(ValueError, match="'llr' already"):
        registry.register(Score("llr", "", CentralNorm(), ("bare",)))


def test_former_names(capsys):
    network = Network(language_model())
    assert registry.named("embedding", network) is registry.SCORES["euclidean"]
    assert "score embedding is now called euclidean" in capsys.readouterr().err
