"""Scores equal those of two full passes over whole sequences, wherever the variant lies."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_networks import CONFIG, language_model, sequence_model, token_model, write_genome
from variant_cases import Naive, apply, edit, leftmost, substitution

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.variants.alleles import Edit
from helicon.inference.variants.pairs import Pairs
from helicon.inference.variants.scores.likelihoods import LLR
from helicon.inference.variants.scoring import Scoring
from helicon.inference.variants.substitutions import Substitutions
from helicon.inference.variants.views import Reach, _free

LANGUAGE = ("llr", "pseudo-likelihood", "euclidean", "cosine")
HEAD = ("head", "euclidean", "cosine")
#: Sees the whole sequence.
GLOBAL = replace(CONFIG, branch="reverse_complement", blocks=2)
MODELS = {
    "language": language_model,
    "token": token_model,
    "sequence": sequence_model,
    "global": lambda: language_model(GLOBAL),
    "cells": lambda: language_model(replace(CONFIG, downsample=True)),
}


@pytest.fixture(scope="module")
def networks():
    return {name: Network(make()) for name, make in MODELS.items()}


@pytest.fixture
def genome(random_genome):
    return random_genome([400, 17, 120, 3], seed=3, unknown=[(0, 200, 230), (2, 0, 4)])


def scoring(network, **options):
    scores = LANGUAGE if network.head_type == "language" else HEAD
    every = 4 if network.head_type == "language" else None
    given = {"both_strands": True, "window": None, "window_step": 1, "mask_every": every} | options
    return Scoring.of(network, scores, **given)


def check(network, genome, edits, wanted=None, backgrounds=None, given=None):
    """Both ways agree with the naive one; they may be given backgrounds with more in them."""
    wanted = wanted or scoring(network)
    naive = Naive(network, genome, wanted)
    expected = [
        np.mean([columns(naive.score(e, b), wanted) for b in (backgrounds or {}).get(i, [()])], 0)
        for i, e in enumerate(edits)
    ]
    given = given or backgrounds
    background = None if given is None else [given[i] for i in range(len(edits))]
    found = Pairs(network, genome, wanted).score(edits, background)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    easy = [i for i, e in enumerate(edits) if Substitutions(network, genome, wanted).can(e)]
    if easy and backgrounds is None:
        found = Substitutions(network, genome, wanted).score([edits[i] for i in easy])
        np.testing.assert_allclose(found, np.array(expected)[easy], atol=1e-5, rtol=1e-5)
    return found


def columns(scores, wanted):
    return np.concatenate([np.ravel(scores[score.name]) for score in wanted.scores])


def substitutions(genome):
    """At ends, side by side, beside and between N, on contigs shorter than the receptive field."""
    places = [(0, 0), (0, 1), (0, 20), (0, 21), (0, 199), (0, 230), (0, 300), (0, 398), (0, 399),
              (1, 0), (1, 8), (1, 16), (2, 4), (2, 60), (3, 1)]  # fmt: skip
    found = [substitution(genome, chrom, at, (1 + at % 3,)) for chrom, at in places]
    found += [substitution(genome, chrom, 5 * at, (1, 0, 2)) for chrom, at in [(0, 8), (1, 1)]]
    return [*found, substitution(genome, 0, 395, (1, 3, 0, 0, 2)), *found[2:3]]


def others(genome):
    """Insertions, deletions and what is both."""
    return [
        edit(genome, 0, 0, 0, "ACG"), edit(genome, 0, 0, 2, ""), edit(genome, 0, 100, 0, "T"),
        edit(genome, 0, 100, 7, ""), edit(genome, 0, 198, 1, "GATTA"), edit(genome, 0, 400, 0, "C"),
        edit(genome, 0, 397, 3, ""), edit(genome, 1, 3, 2, "TTTT"), edit(genome, 1, 8, 8, "A"),
        edit(genome, 0, 190, 45, "A"), edit(genome, 3, 1, 1, "CCA"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_equal_to_two_full_passes(networks, genome, name):
    network = networks[name]
    wanted = scoring(network) if network.head_type == "token" else scoring(network, window=None)
    if wanted.window is not None:
        wanted = replace(wanted, window=64)
    assert (wanted.window is None) == (name in ("language", "token"))
    check(network, genome, [*substitutions(genome), *others(genome)], wanted)


@pytest.mark.parametrize("name", ["language", "token", "sequence"])
def test_windows(networks, genome, name):
    network = networks[name]
    edits = [*substitutions(genome), *others(genome)[:8]]
    found = check(network, genome, edits, scoring(network, window=51, window_step=10))
    assert np.isfinite(found).all()


def test_one_strand(networks, genome):
    edits = [*substitutions(genome)[:6], *others(genome)[:3]]
    both = [
        check(networks["language"], genome, edits, scoring(networks["language"], both_strands=b))
        for b in (False, True)
    ]
    assert not np.allclose(*both, atol=1e-3)


def test_what_is_computed_together_changes_nothing(networks, random_genome, monkeypatch):
    """Stretches of any length, any number at once."""
    network, genome = networks["token"], random_genome([2500])
    edits = [substitution(genome, 0, at) for at in [*range(0, 2500, 40), *range(600, 620)]]
    way = Substitutions(network, genome, scoring(network))
    assert len(list(way._stretches(edits))) == 1
    whole = way.score(edits)
    module = "helicon.inference.variants.substitutions"
    monkeypatch.setattr(f"{module}.STRETCH", 1)
    monkeypatch.setattr(f"{module}.ROWS", 5)
    assert len(list(way._stretches(edits))) == 3
    np.testing.assert_allclose(way.score(edits), whole, atol=2e-6)


def test_likelihoods_go_the_right_way(networks, genome):
    """To the letter that the network expects, and back."""
    network = networks["language"]
    one = substitution(genome, 0, 150)
    ids = genome.fetch(0, 0, 400)[None].copy()
    ids[0, 150] = DNA.mask_id
    expected = network.logits(ids)[0, 150]
    wanted = scoring(network, both_strands=False)
    found = Substitutions(network, genome, replace(wanted, scores=(LLR,))).score([one])
    assert found[0, 0] == pytest.approx(expected[one.alt[0]] - expected[one.ref[0]], abs=1e-5)


# ---------------------------------------------------------------- haplotypes


def test_on_a_background(networks, genome):
    """Substitutions, insertions and deletions on both sides, one in another's way."""
    background = [
        edit(genome, 0, 85, 0, "GG"), edit(genome, 0, 90, 12, ""),
        *[substitution(genome, 0, at) for at in (108, 109, 111)],
        edit(genome, 0, 112, 0, "TT"), edit(genome, 0, 125, 3, "A"),
    ]  # fmt: skip
    own = [substitution(genome, 0, 110), edit(genome, 0, 110, 1, ""), edit(genome, 0, 110, 0, "CA")]
    for name in ("language", "token", "sequence"):
        wanted = scoring(networks[name])
        wanted = replace(wanted, window=wanted.window and 80)
        more = [*background[:2], substitution(genome, 0, 101), *background[2:]]
        check(
            networks[name], genome, own, wanted,
            {i: [background] for i in range(3)}, {i: [more] for i in range(3)},
        )  # fmt: skip
    two = {0: [background, background[3:]], 1: [[]], 2: [background[:2]]}
    check(networks["language"], genome, own, None, two)


def test_what_is_in_the_way_is_left_out(genome):
    own = edit(genome, 0, 100, 3, "")
    reach = Reach(margin=20)
    alone = reach.pair(genome, own)
    inside = [
        edit(genome, 0, 95, 6, ""),
        substitution(genome, 0, 101),
        edit(genome, 0, 101, 0, "A"),
        own,
    ]
    for other in inside:
        assert (reach.pair(genome, own, [other]).alt.ids[:30] == alone.alt.ids[:30]).all()
    touching = [edit(genome, 0, 97, 3, "GGG"), edit(genome, 0, 103, 0, "TT")]
    pair = reach.pair(genome, own, touching)
    assert DNA.decode(pair.alt.ids[17:25])[:5] == "GGGTT"
    assert pair.flanks(5) == (5, 5)


pieces = st.lists(
    st.tuples(st.integers(0, 58), st.integers(0, 5), st.text("ACGT", max_size=5)), max_size=6
)


@settings(max_examples=100, deadline=None)
@given(
    pieces, st.integers(0, 60), st.integers(0, 5), st.text("ACGT", max_size=5),
    st.sampled_from(
        [Reach(margin=7), Reach(window=20), Reach(window=20, step=4), Reach(window=99)]
    ),
)  # fmt: skip
def test_views_hold_the_edited_chromosome(tmp_path_factory, others, start, width, alt, reach):
    folder = tmp_path_factory.mktemp("g")
    genome = Genome.open(write_genome(folder / "g.fa", [60], 1), cache=folder)
    own = edit(genome, 0, start, min(width, 60 - start), alt)
    assume(own.ref != own.alt)
    background = sorted(
        (edit(genome, 0, at, min(size, 60 - at), letters) for at, size, letters in others),
        key=lambda e: (e.start, e.end),
    )
    pair = reach.pair(genome, own, background)
    free = _free(own, background, 0, 60)
    chromosome = genome.fetch(0, 0, 60)
    at = own.start + sum(len(e.alt) - len(e.ref) for e in free if e.end <= own.start)
    if not own.ref or not own.alt:
        at = leftmost(apply(chromosome, free), apply(chromosome, [*free, own]))[0]
    for view, edits, letters in ((pair.ref, free, own.ref), (pair.alt, [*free, own], own.alt)):
        whole = apply(chromosome, edits)
        start, last = at - view.first, at + len(letters)
        assert view.ids.tobytes() == whole[start : start + len(view)].tobytes()
        assert (view.last - view.first, len(view.place)) == (len(letters), len(view))
        if reach.window is None:
            assert view.first == min(7, at)
            assert len(view) - view.last >= min(7, len(whole) - last)
        else:
            assert len(view) == min(reach.window, len(whole))


# ---------------------------------------------------------------- what can be asked


@pytest.mark.parametrize(
    ("name", "scores", "options", "words"),
    [
        ("language", ["head"], {}, "a language model has no 'head'; choose llr, pseudo"),
        ("sequence", ["llr"], {}, "a head for sequences has no 'llr'; choose head, euclidean"),
        ("token", ["pseudo-likelihood"], {}, "a head for positions has no"),
        ("language", ["best"], {}, "score: 'best' is not known; choose llr"),
        ("language", None, {"window": 7}, "window: must be at least 8"),
        (
            "sequence",
            None,
            {"window_step": 300},
            "window-step: must be from 1 to a quarter of the window",
        ),
        ("language", None, {"window_step": 4}, "window-step: is of use with windows only"),
        ("language", None, {"mask_every": 1}, "mask-every: must be at least 2"),
        ("token", None, {"mask_every": 5}, "mask-every: is of no use for head; leave it out"),
        ("language", ["cosine", "euclidean"], {"mask_every": 5}, "no use for cosine, euclidean"),
    ],
)
def test_what_a_model_cannot_give(networks, name, scores, options, words):
    given = {"both_strands": True, "window": None, "window_step": 1, "mask_every": None} | options
    with pytest.raises(InputError, match=words) as caught:
        Scoring.of(networks[name], scores, **given)
    assert "\n" not in str(caught.value)


def test_defaults(networks):
    options = {"both_strands": True, "window": None, "window_step": 1, "mask_every": None}
    chosen = {name: Scoring.of(network, None, **options) for name, network in networks.items()}
    assert {name: one.scores[0].name for name, one in chosen.items()} == {
        "language": "llr", "token": "head", "sequence": "head", "global": "llr", "cells": "llr",
    }  # fmt: skip
    assert {name: one.window for name, one in chosen.items()} == {
        "language": None, "token": None, "sequence": 1024, "global": 1024, "cells": 1024,
    }  # fmt: skip
    names = [column.name for column in chosen["token"].columns(networks["token"])]
    assert names == ["head:intergenic", "head:forward", "head:reverse"]


def test_edits_are_small(networks, genome):
    way = Substitutions(networks["language"], genome, scoring(networks["language"]))
    assert way.can(substitution(genome, 0, 5, (1, 1)))
    assert not way.can(Edit(0, 5, b"\0", b""))
    assert not way.can(substitution(genome, 0, 5, (1,) * 33))
