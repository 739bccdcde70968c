"""Markov models: counts, probabilities and scores against slow and plain code."""

from collections import Counter

import numpy as np
import pytest

from helicon.alphabet import DNA, PROTEIN
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, whole_genome
from helicon.data.tables.store import SequenceStore
from helicon.training.yardsticks import markov as baselines
from helicon.training.yardsticks.markov import (
    add_reverse_strand,
    count_intervals,
    count_kmers,
    count_rows,
    markov_baselines,
    markov_scores,
    protein_baselines,
)


def text(length, seed=0, letters="ACGT"):
    return "".join(np.random.default_rng(seed).choice(list(letters), length))


def counter(sequence, k):
    pieces = (sequence[i : i + k] for i in range(len(sequence) - k + 1))
    return Counter(piece for piece in pieces if set(piece) <= set("ACGT"))


def as_counter(counts):
    return Counter({DNA.decode(np.array(at)): int(counts[tuple(at)]) for at in np.argwhere(counts)})


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(f">a\n{text(5000, 1)}\n>b\n{text(3000, 2, 'ACGTNacgt')}\n")
    return Genome.open(path, cache=tmp_path / "cache")


@pytest.mark.parametrize("k", [1, 2, 4])
def test_kmers_are_counted_and_unknown_letters_skipped(k):
    sequence = text(700, letters="ACGTN")
    ids = DNA.encode(sequence.lower(), soft=True).reshape(7, 100)
    wanted = sum((counter(sequence[i : i + 100], k) for i in range(0, 700, 100)), Counter())
    assert as_counter(count_kmers(ids, k)) == wanted
    assert count_kmers(ids[:, : k - 1], k).sum() == 0


def test_both_strands():
    sequence = text(500)
    other = sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    both = add_reverse_strand(count_kmers(DNA.encode(sequence)[None], 3))
    assert as_counter(both) == counter(sequence, 3) + counter(other, 3)


def test_long_intervals_are_counted_in_pieces(genome, monkeypatch):
    intervals = Intervals.of(genome.names, [0, 1], [100, 0], [4900, 2500])
    whole = count_intervals(genome, intervals, 3)
    monkeypatch.setattr(baselines, "_CHUNK", 64)
    assert (count_intervals(genome, intervals, 3) == whole).all()
    part = count_intervals(genome, intervals, 3, most=1000)
    assert 0 < part.sum() < whole.sum() / 5
    first = DNA.decode(genome.fetch(0, 100, 4900))
    second = DNA.decode(genome.fetch(1, 0, 2500))
    assert as_counter(whole) == counter(first, 3) + counter(second, 3)


def test_scores_are_those_of_the_definition():
    train, held_out = text(2000, 3, "AACGT"), text(600, 4, "AACGT")
    for order in (0, 2):
        k = order + 1
        seen, asked = counter(train, k), counter(held_out, k)
        contexts = {kmer[:-1] for kmer in asked}
        chances = {
            c: {b: (seen[c + b] + 1) / (sum(seen[c + x] for x in "ACGT") + 4) for b in "ACGT"}
            for c in contexts
        }
        loss = -sum(n * np.log(chances[kmer[:-1]][kmer[-1]]) for kmer, n in asked.items())
        right = sum(
            n
            for kmer, n in asked.items()
            if kmer[-1] == max("ACGT", key=lambda b: chances[kmer[:-1]][b])
        )
        counts = [count_kmers(DNA.encode(s)[None], k) for s in (train, held_out)]
        score = markov_scores(*counts, orders=[order])[0]
        total = sum(asked.values())
        assert score.order == order and score.letters == total
        assert score.loss == pytest.approx(loss / total)
        assert score.perplexity == pytest.approx(np.exp(loss / total))
        assert score.accuracy == pytest.approx(right / total)


def test_a_repeating_genome_needs_context(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">a\n" + "ACCGT" * 2000 + "\n")
    genome = Genome.open(path, cache=tmp_path / "cache")
    held_out = [genome.windows([0, 0], [0, 500], 500)]
    scores = markov_baselines(genome, whole_genome(genome), held_out, order=2, both_strands=False)
    assert [round(s.accuracy, 2) for s in scores] == [0.4, 0.8, 1.0]
    assert scores[2].perplexity < 1.01 < scores[0].perplexity
    assert len({s.letters for s in scores}) == 1  # all orders predict the same bases
    both = markov_baselines(genome, whole_genome(genome), held_out, order=2)
    assert both[0].letters == 2 * scores[0].letters


def test_nothing_held_out_scores_nothing(genome):
    scores = markov_baselines(genome, whole_genome(genome), [], order=1)
    assert [s.letters for s in scores] == [0, 0]


# ---------------------------------------------------------------- proteins


@pytest.fixture
def proteins(tmp_path):
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("ACDWUX*"), n)) + "A" for n in rng.integers(0, 40, 200)]
    path = tmp_path / "p.fa"
    path.write_text("".join(f">p{i}\n{t}\n" for i, t in enumerate(texts)))
    return SequenceStore.open(path, alphabet=PROTEIN, cache=tmp_path / "cache"), texts


def protein_counter(texts, k):
    pieces = (text[i : i + k] for text in texts for i in range(len(text) - k + 1))
    return Counter(piece for piece in pieces if set(piece) <= set(PROTEIN.real))


@pytest.mark.parametrize("k", [1, 3])
def test_kmers_of_proteins_do_not_cross_sequences(proteins, k, monkeypatch):
    store, texts = proteins
    certain = [letter for letter in PROTEIN.letters if letter in PROTEIN.real]
    rows = np.array([3, 4, 5, 50, 120, 199])
    counts = count_rows(store, rows, k)
    assert counts.shape == (25,) * k
    found = {"".join(certain[i] for i in at): counts[tuple(at)] for at in np.argwhere(counts)}
    assert found == protein_counter([texts[i] for i in rows], k)
    monkeypatch.setattr(baselines, "_CHUNK", 30)
    assert (count_rows(store, rows, k) == counts).all()
    few = count_rows(store, np.arange(200), k, most=store.total // 10)
    assert 0 < few.sum() < store.total / 5


def test_markov_models_of_proteins_are_scored_on_whole_sequences(proteins):
    store, texts = proteins
    rows = np.arange(100, 140)
    held_out = [np.where(real, ids, PROTEIN.pad_id) for ids, real in [store.gather(rows)]]
    scores = protein_baselines(store, np.arange(100), held_out, order=1)
    seen, asked = (protein_counter(texts[a:b], 2) for a, b in ((0, 100), (100, 140)))
    last = {k: sum(n for pair, n in seen.items() if pair[0] == k) for k in "ACDWU"}
    loss = -sum(n * np.log((seen[p] + 1) / (last[p[0]] + 25)) for p, n in asked.items())
    assert scores[1].letters == scores[0].letters == sum(asked.values())
    assert scores[1].loss == pytest.approx(loss / sum(asked.values()))
