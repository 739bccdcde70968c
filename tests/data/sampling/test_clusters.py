"""Clusters from tables, headers and shared k-mers, and parts made of whole clusters."""

import gzip

import numpy as np
import pytest

from helicon.alphabet import PROTEIN
from helicon.data.sampling import clusters as module
from helicon.data.sampling.clusters import (
    Clusters,
    find_clusters,
    read_clusters,
    sequence_hashes,
    similar_clusters,
    split_clusters,
)
from helicon.data.tables.store import SequenceStore
from helicon.errors import InputError

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
#: Frequencies of the residues of E. coli, in the same order: real proteins share more k-mers.
FREQUENCIES = [95, 12, 51, 57, 39, 74, 23, 60, 44, 107, 28, 39, 44, 44, 55, 58, 54, 71, 15, 28]


def letters(rng, n):
    return rng.choice(LETTERS, n, p=np.array(FREQUENCIES) / sum(FREQUENCIES))


def mutated(rng, parent, identity):
    """A copy of the stated identity, by substitutions."""
    copy = parent.copy()
    at = rng.permutation(len(copy))[: round((1 - identity) * len(copy))]
    codes = np.searchsorted(LETTERS, copy[at])
    copy[at] = LETTERS[(codes + rng.integers(1, 20, len(at))) % 20]
    return copy


def store_of(folder, texts, names=None, headers=None, name="p.fa"):
    names = names or [f"p{i}" for i in range(len(texts))]
    lines = headers or names
    path = folder / name
    path.write_text("".join(f">{h}\n{''.join(t)}\n" for h, t in zip(lines, texts, strict=True)))
    return SequenceStore.open(path, alphabet=PROTEIN, cache=folder / "cache", unique=False)


def families(seed=0, parents=300, copies=(0.9, 0.8, 0.7)):
    """Unrelated parents, and of each a copy at every identity; the family of each sequence."""
    rng = np.random.default_rng(seed)
    old = [letters(rng, int(n)) for n in rng.integers(120, 600, parents)]
    texts = old + [mutated(rng, text, identity) for identity in copies for text in old]
    return texts, np.tile(np.arange(parents), 1 + len(copies))


def together(found, family):
    """Of the pairs of a parent and a copy, the share in one cluster, by the round of copies."""
    count = family.max() + 1
    rounds = found.ids.reshape(-1, count)
    return [(rounds[0] == other).mean() for other in rounds[1:]]


def test_mutated_copies_are_together_and_unrelated_sequences_apart(tmp_path):
    texts, family = families()
    found = similar_clusters(store_of(tmp_path, texts))
    near, middle, far = together(found, family)
    assert near == 1.0 and middle == 1.0 and far > 0.97
    mixed = [len(set(family[found.ids == c])) for c in range(found.count)]
    assert max(mixed) == 1  # no cluster of two families, let alone a giant one
    parts = split_clusters(store_of(tmp_path, texts), found, validation=0.1, test=0.1)
    side = np.empty(len(texts), int)
    for i, rows in enumerate(parts.values()):
        side[rows] = i
    assert (side[:300] == side[300:600]).all() and (side[:300] == side[600:900]).all()


def test_a_thinned_comparison_still_finds_near_duplicates(tmp_path):
    texts, family = families(1)
    store = store_of(tmp_path, texts)
    near, middle, _ = together(similar_clusters(store, most=store.total // 8), family)
    assert near > 0.99 and middle > 0.9


def test_fragments_belong_to_what_they_are_cut_from(tmp_path):
    rng = np.random.default_rng(2)
    whole = [letters(rng, 800) for _ in range(20)]
    texts = [*whole, *(text[300:420] for text in whole)]
    found = similar_clusters(store_of(tmp_path, texts))
    assert (found.ids[:20] == found.ids[20:]).all() and found.count == 20


def test_very_short_and_repetitive_sequences(tmp_path):
    texts = ["MKV", "MKV", "MKL", "Q" * 50, "Q" * 80, "Q" * 30 + "MKLV" * 9, "XXXXXXXX", "M"]
    found = similar_clusters(store_of(tmp_path, texts))
    assert found.ids[0] == found.ids[1] != found.ids[2]
    assert found.ids[3] == found.ids[4]  # all they have is one word
    assert len({found.ids[i] for i in (0, 2, 6, 7)}) == 4


def test_many_copies_of_one_word_are_still_linked(tmp_path):
    rng = np.random.default_rng(3)
    parent = letters(rng, 200)
    texts = [mutated(rng, parent, 0.9) for _ in range(60)]
    assert similar_clusters(store_of(tmp_path, texts)).count == 1


def test_pieces_give_what_the_whole_gives(tmp_path, monkeypatch):
    store = store_of(tmp_path, families(4, parents=60)[0])
    found, hashes = similar_clusters(store), sequence_hashes(store)
    monkeypatch.setattr(module, "_CHUNK", 500)
    assert (similar_clusters(store).ids == found.ids).all()
    assert (sequence_hashes(store) == hashes).all()


def test_the_split_depends_on_the_letters_alone(tmp_path):
    texts, _ = families(5, parents=80)
    order = np.random.default_rng(0).permutation(len(texts))
    names = [f"p{i}" for i in range(len(texts))]
    one = store_of(tmp_path, texts, names, name="a.fa")
    two = store_of(tmp_path, [texts[i] for i in order], [names[i] for i in order], name="b.fa")
    for part, rows in split_clusters(one, similar_clusters(one)).items():
        others = split_clusters(two, similar_clusters(two))[part]
        assert {one.name(i) for i in rows} == {two.name(i) for i in others}


def test_shares_hold_by_residues(tmp_path):
    rng = np.random.default_rng(6)
    store = store_of(tmp_path, [letters(rng, int(n)) for n in rng.integers(20, 900, 1500)])
    single = find_clusters(store, by="none")
    assert single.count == 1500
    for shares in ((0.05, 0.05), (0.2, 0.1), (0.1, 0.0)):
        parts = split_clusters(store, single, validation=shares[0], test=shares[1])
        found = [store.lengths[parts[p]].sum() / store.total for p in ("validation", "test")]
        assert found == pytest.approx(shares, abs=0.002)
        assert sorted(np.concatenate(list(parts.values()))) == list(range(1500))
    # A cluster too big for a part goes to training, wherever it stands.
    big = Clusters.of(np.where(np.arange(1500) < 500, 0, np.arange(1500)), "a test")
    parts = split_clusters(store, big, validation=0.05, test=0.05)
    assert set(range(500)) <= set(parts["train"].tolist()) and len(parts["test"])


def test_too_few_clusters_are_refused(tmp_path):
    store = store_of(tmp_path, ["MKLVAAGH", "MKLVAAGH"])
    with pytest.raises(InputError, match=r"p\.fa: the clusters are too few for a test part, 1"):
        split_clusters(store, similar_clusters(store))
    parts = split_clusters(store, similar_clusters(store), validation=0, test=0)
    assert [len(rows) for rows in parts.values()] == [2, 0, 0]


@pytest.mark.parametrize("mmseqs", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_tables_of_clusters(tmp_path, mmseqs, packed):
    store = store_of(tmp_path, ["MKL", "MKV", "AAA", "GGG"])
    rows = [("p0", "p0"), ("p1", "p0"), ("p3", "p3"), ("p2", "p3"), ("other", "p9")]
    text = "".join(f"{c}\t{n}\r\n" if mmseqs else f"{n}\t{c}\r\n" for n, c in rows).encode()
    path = tmp_path / "clusters.tsv"
    path.write_bytes(gzip.compress(text) if packed else text)
    found = read_clusters(path, store)
    assert found.ids[0] == found.ids[1] != found.ids[2] == found.ids[3]
    assert found.count == 2 and "clusters.tsv" in found.found_by


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p0\tA\np1\tA\n", "names no cluster of 'p2' in .*p.fa; add"),
        ("p0\tA\n", "names no cluster of 'p1' in .*p.fa and 1 others; add"),
        ("p0\tA\np1\tA\np2\tB\np2\tC\n", "names two clusters of 'p2'"),
        ("p0\np1\n", "has 1 columns where two"),
        ("p0\tA\tx\n", "has 3 columns where two"),
        ("p0\tA\np1\tB\tC\n", "is no table of two columns"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, said):
    store = store_of(tmp_path, ["MKL", "MKV", "AAA"])
    path = tmp_path / "clusters.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"clusters\.tsv: {said}") as caught:
        read_clusters(path, store)
    assert "\n" not in str(caught.value)


def test_headers_that_say_the_cluster(tmp_path):
    headers = ["a cluster=C7 one", "b x=1 cluster=C2", "c cluster=C7"]
    found = find_clusters(store_of(tmp_path, ["MKL", "AAA", "GGG"], headers=headers), by="header")
    assert found.ids[0] == found.ids[2] != found.ids[1]
    store = store_of(tmp_path, ["MKL", "AAA"], headers=["a cluster=C7", "b subcluster=1"])
    with pytest.raises(InputError, match=r"line 3, record 'b': does not say cluster="):
        find_clusters(store, by="header")
    rows = tmp_path / "rows.csv"
    rows.write_text("sequence\nMKL\n")
    store = SequenceStore.open(rows, alphabet=PROTEIN, cache=tmp_path / "cache")
    with pytest.raises(InputError, match="FASTA"):
        find_clusters(store, by="header")
