"""What codons allow, and what paths the grammars let through."""

import itertools

import numpy as np
import pytest
from genetics import GENES, SITES, STARTS, STOPS, genome_of, turned
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.errors import InputError
from helicon.inference.genes import codons as bits
from helicon.inference.genes.codons import Codons
from helicon.inference.genes.grammar import choose_grammar, free, genes, of_classes, spliced

BEND = (
    "exon_forward", "donor_forward", "intron_forward", "acceptor_forward",
    "exon_reverse", "donor_reverse", "intron_reverse", "acceptor_reverse", "intergenic",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(text=st.text("ACGTN", min_size=1, max_size=40), data=st.data())
def test_codes_are_what_the_sequence_says(tmp_path_factory, text, data):
    genome = genome_of(tmp_path_factory.mktemp("g") / "g.fa", [text])
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text) + 2))
    codes = Codons().codes(genome, 0, start, end)

    def is_(at, codons):
        return at >= 0 and text[at : at + 3] in codons

    r_starts, r_stops = [turned(c) for c in STARTS], [turned(c) for c in STOPS]
    for i, code in zip(range(start, end), codes.tolist(), strict=True):
        wanted = {
            bits.START: is_(i, STARTS),
            bits.STOP: is_(i, STOPS),
            bits.R_START: is_(i, r_starts),
            bits.R_STOP: is_(i, r_stops),
            bits.AFTER_STOP: is_(i - 3, STOPS),
            bits.AFTER_R_START: is_(i - 3, r_starts),
            bits.OVERLAP_1: is_(i, STARTS) and is_(i - 2, STOPS),
            bits.OVERLAP_4: is_(i, STARTS) and is_(i + 1, STOPS) and not is_(i - 2, STOPS),
            bits.R_OVERLAP_1: is_(i - 3, r_starts) and is_(i - 1, r_stops),
            bits.R_OVERLAP_4: is_(i - 3, r_starts)
            and is_(i - 4, r_stops)
            and not is_(i - 1, r_stops),
        }
        assert {bit: bool(code & bit) for bit in wanted} == wanted
        # ATG is the cheapest start, TTG the dearest.
        for field, codon in (
            (bits.START, text[i : i + 3]),
            (bits.AFTER_R_START, turned(text[max(i - 3, 0) : i])),
        ):
            if code & field:
                assert bits.field(code, field) == 1 + STARTS.index(codon)


def test_wrong_codons():
    with pytest.raises(InputError, match="'ATN' is no codon"):
        Codons(starts=("ATN",), start_costs=(0.0,))
    with pytest.raises(InputError, match="ATG is a stop codon too"):
        Codons(stops=("ATG",))
    with pytest.raises(InputError, match="name at least one"):
        Codons(stops=())
    with pytest.raises(InputError, match="no more than 3 different costs"):
        Codons(("ATG", "GTG", "TTG", "CTG"), (-1.0, -2.0, -3.0, -4.0))


def test_the_classes_choose_the_grammar():
    assert choose_grammar(GENES) == choose_grammar(SITES) == "genes"
    assert choose_grammar(BEND) == "spliced"
    for labels in (("background", "forward", "reverse"), ("intergenic", "CDS"), ("a", "exon")):
        assert choose_grammar(labels) == "free"


@pytest.mark.parametrize("labels", [GENES, SITES])
def test_states_of_genes(labels):
    grammar = genes(labels)
    assert len(grammar.states) == {3: 7, 7: 19}[len(labels)]
    named = {state: labels[k] for state, k in zip(grammar.states, grammar.emits, strict=True)}
    assert named["codon forward 1"] == "forward"
    if labels == SITES:
        assert named["start reverse 0"] == "start_reverse"
        assert named["stop forward 2"] == "stop_forward"
    # A codon is passed in order, whatever the sequence says.
    for strand, place in itertools.product(("forward", "reverse"), (0, 1)):
        at = [grammar.states.index(f"codon {strand} {p}") for p in (place, place + 1)]
        assert (grammar.graph.steps[:, at[0], at[1]] == 0).all()


def test_genes_need_their_classes():
    with pytest.raises(InputError, match="the model has a, b"):
        genes(("a", "b"))


def steps_of(grammar):
    legal = grammar.graph.steps[0] > -np.inf
    names = grammar.states
    return {(names[a], names[b]) for a, b in np.argwhere(legal) if a != b}


def test_spliced_genes_in_order():
    assert steps_of(spliced(BEND)) == {
        ("intergenic", "exon_forward"), ("exon_forward", "intergenic"),
        ("intergenic", "exon_reverse"), ("exon_reverse", "intergenic"),
        ("exon_forward", "donor_forward"), ("donor_forward", "intron_forward"),
        ("intron_forward", "acceptor_forward"), ("acceptor_forward", "exon_forward"),
        # read from left to right, a reverse gene comes to its acceptor first
        ("exon_reverse", "acceptor_reverse"), ("acceptor_reverse", "intron_reverse"),
        ("intron_reverse", "donor_reverse"), ("donor_reverse", "exon_reverse"),
    }  # fmt: skip
    short = ("background", "CDS+", "intron+")
    assert steps_of(spliced(short)) == {
        ("background", "CDS+"), ("CDS+", "background"), ("CDS+", "intron+"), ("intron+", "CDS+"),
    }  # fmt: skip
    with pytest.raises(InputError, match="the model has intergenic, forward"):
        spliced(GENES)


def test_free_and_own_graphs():
    grammar = free(("background", "promoter", "enhancer +"), switch=-2.0)
    assert grammar.kind.tolist() == [-1, 0, 1]
    assert [(k.type, k.strand) for k in grammar.kinds] == [("promoter", "."), ("enhancer", "+")]
    assert len(steps_of(grammar)) == 6
    assert free(("A", "B")).kind.tolist() == [0, 1]
    costs = np.array([[0, -1.0], [-np.inf, 0]])
    grammar = of_classes("classes", ("none", "x"), costs, start=["none"], end=["x"])
    assert steps_of(grammar) == {("none", "x")}
    assert grammar.graph.start.tolist() == [[0, -np.inf]]
    assert grammar.graph.end.tolist() == [[-np.inf, 0]]
