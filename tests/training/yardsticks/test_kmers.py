import numpy as np
import pytest

from helicon.alphabet import DNA, PROTEIN
from helicon.data.tables.tables import read_table
from helicon.training.yardsticks.kmers import kmer_frequencies, measure_yardstick


def table(tmp_path, rows, alphabet=DNA):
    path = tmp_path / "rows.csv"
    path.write_text("sequence,label\n" + "".join(f"{s},{y}\n" for s, y in rows))
    return read_table(path, target="label", alphabet=alphabet)


def test_kmers_are_counted_within_sequences_and_without_unknown_letters(tmp_path):
    found = kmer_frequencies(table(tmp_path, [("ACgT", 0), ("CCNAC", 1), ("A", 1)]), 2, DNA)
    expected = np.zeros((3, 16))
    expected[0, [0 * 4 + 1, 1 * 4 + 2, 2 * 4 + 3]] = 1 / 3
    expected[1, [1 * 4 + 1, 0 * 4 + 1]] = 1 / 2
    assert found == pytest.approx(expected)


def test_protein_kmers(tmp_path):
    rows = table(tmp_path, [("MKVXMK", 0)], PROTEIN)
    found = kmer_frequencies(rows, 2, PROTEIN)
    assert np.count_nonzero(found) == 2  # MK twice and KV; VX and XM are not certain
    assert found.max() == pytest.approx(2 / 3)


def random_rows(rng, n, motifs, both):
    letters = np.array(list("ACGT"))
    rows = []
    for i in range(n):
        text = letters[rng.integers(0, 4, 40)]
        motif = DNA.encode(motifs[i % 2])
        if both and rng.random() < 0.5:
            motif = DNA.reverse_complement(motif)
        text[10 : 10 + len(motif)] = list(DNA.decode(motif))
        rows.append(("".join(text), i % 2))
    return rows


@pytest.mark.parametrize("both_strands", [True, False])
def test_the_yardstick_sees_whether_the_strand_matters(tmp_path, both_strands):
    rng = np.random.default_rng(1)
    motifs = ("GATTACAG", "CCGATGTC")
    rows = table(tmp_path, random_rows(rng, 400, motifs, both_strands))
    train, valid = rows.take(np.arange(300)), rows.take(np.arange(300, 400))
    found = measure_yardstick(train, valid, (train.labels, valid.labels), DNA, classes=True)
    assert found.score > 0.6
    assert found.strand_free == both_strands
