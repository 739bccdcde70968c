"""One haplotype has one score, however the records write it."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_networks import language_model, sequence_model, token_model

from helicon.alphabet import DNA
from helicon.data.genome.genome import Genome
from helicon.data.variants.vcf import Record
from helicon.forward.network import Network
from helicon.inference.variants.alleles import Resolver
from helicon.inference.variants.pairs import Pairs
from helicon.inference.variants.scoring import Scoring
from helicon.inference.variants.substitutions import WIDEST, Substitutions
from helicon.inference.variants.variants import variants
from helicon.inference.variants.views import Reach

HEAD = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
MODELS = {"language": language_model, "token": token_model, "sequence": sequence_model}


@pytest.fixture(scope="module")
def networks():
    return {name: Network(make()) for name, make in MODELS.items()}


def spellings(ref, alt, longest=12):
    """Position from 1, REF and ALT of every record that makes one sequence the other."""
    more = len(alt) - len(ref)
    found = []
    for start in range(len(ref)):
        if ref[:start] != alt[:start]:
            break
        for end in range(start + 1, min(len(ref), start + longest) + 1):
            if ref[end:] == alt[end + more :] and end + more > start:
                found.append((start + 1, ref[start:end], alt[start : end + more]))
    return found


def edits_of(genome, records):
    resolver = Resolver("a.vcf", genome)
    found = [
        resolver.alleles(Record(1, b"", "c0", at, ".", old, (new,))) for at, old, new in records
    ]
    return [allele.edit for (allele,) in found]


def genome_of(folder, letters):
    (folder / "g.fa").write_text(f">c0\n{letters}\n")
    return Genome.open(folder / "g.fa", cache=folder)


repeats = st.tuples(
    st.text("ACGT", max_size=20), st.text("ACGT", min_size=1, max_size=3), st.integers(1, 60),
    st.text("ACGT", min_size=1, max_size=20),
).map(lambda parts: parts[0] + parts[1] * parts[2] + parts[3])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    repeats, st.integers(0, 200), st.integers(0, 6), st.text("ACGT", max_size=6),
    st.sampled_from(
        [Reach(margin=9), Reach(window=20), Reach(window=24, step=6), Reach(window=500)]
    ),
)  # fmt: skip
def test_equal_sequences_are_looked_at_alike(tmp_path_factory, ref, start, width, new, reach):
    start = min(start, len(ref) - 1)
    alt = ref[:start] + new + ref[start + width :]
    assume(alt and alt != ref)
    records = spellings(ref, alt)
    assume(records)
    genome = genome_of(tmp_path_factory.mktemp("g"), ref)
    edits = edits_of(genome, records)
    first, *others = [reach.pair(genome, edit) for edit in edits]
    assert len({len(edit.ref) == len(edit.alt) <= WIDEST for edit in edits}) == 1
    for other in others:
        for one, two in ((first.ref, other.ref), (first.alt, other.alt)):
            assert (one.first, one.last) == (two.first, two.last)
            np.testing.assert_array_equal(one.ids, two.ids)
            np.testing.assert_array_equal(one.place, two.place)


def scoring(network, **options):
    scores = ["llr", "pseudo-likelihood"] if network.head_type == "language" else ["head"]
    every = 4 if network.head_type == "language" else None
    given = {"both_strands": True, "window": None, "window_step": 1, "mask_every": every} | options
    return Scoring.of(network, scores, **given)


#: REF and ALT, with what stands around them: an insertion and a deletion in a repeat, a delins, a
#: substitution of three letters of which two change, an insertion of a longer repeat.
CHANGES = {
    "insertion": ("TATATATATA", "TATATATATATA"),
    "deletion": ("CAGCAGCAGCAG", "CAGCAGCAG"),
    "delins": ("ACCCTG", "AGTTG"),
    "substitution": ("ACG", "TCT"),
    "long": ("GATTACA" * 12, "GATTACA" * 14),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("window", [None, 512])
@pytest.mark.parametrize("name", MODELS)
def test_equal_scores(networks, tmp_path, name, window, change):
    rng = np.random.default_rng(5)
    left, right = (DNA.decode(rng.integers(0, 4, 300).astype(np.uint8)) for _ in range(2))
    old, new = CHANGES[change]
    records = spellings(left + old + right, left + new + right, longest=40)
    assert len(records) > 8
    genome = genome_of(tmp_path, left + old + right)
    edits = edits_of(genome, [records[0], records[len(records) // 2], records[-1]])
    network = networks[name]
    wanted = scoring(network, window=window)
    found = Pairs(network, genome, wanted).score(edits)
    np.testing.assert_allclose(found, found[:1].repeat(3, 0), atol=1e-5)
    way = Substitutions(network, genome, wanted)
    if way.can(edits[0]):
        found = way.score(edits)
        np.testing.assert_allclose(found, found[:1].repeat(3, 0), atol=1e-6)


def test_a_background_is_one_however_it_is_written(networks, tmp_path):
    """An allele of a haplotype, whose other alleles are written in several ways."""
    rng = np.random.default_rng(6)
    left, right = (DNA.decode(rng.integers(0, 4, 100).astype(np.uint8)) for _ in range(2))
    ref, alt = left + "TATATATA" + right, left + "TATATATATA" + right
    genome = genome_of(tmp_path, ref)
    own = edits_of(genome, [(121, ref[120], "ACGTA"["ACGT".index(ref[120]) + 1])])[0]
    others = edits_of(genome, spellings(ref, alt))
    network = networks["language"]
    for window in (None, 64):
        way = Pairs(network, genome, scoring(network, window=window))
        found = way.score([own] * len(others), [[[other]] for other in others])
        assert len(others) > 8
        np.testing.assert_allclose(found, found[:1].repeat(len(found), 0), atol=1e-5)


def test_from_a_vcf(folders, tmp_path):
    """The records stay as they are written; the scores are one."""
    rng = np.random.default_rng(7)
    left, right = (DNA.decode(rng.integers(0, 4, 80).astype(np.uint8)) for _ in range(2))
    ref = left[:-1] + "G" + "TATATATA" + right
    (tmp_path / "g.fa").write_text(f">c0\n{ref}\n")
    rows = [f"c0\t{at}\t.\t{ref[at - 1]}\t{ref[at - 1]}{new}" for at, new in
            ((80, "TA"), (82, "TA"), (83, "AT"), (88, "TA"))]  # fmt: skip
    rows.append(f"c0\t80\t.\t{ref[79:88]}\t{ref[79:88]}TA")
    text = "".join(f"{row}\t.\t.\t.\n" for row in rows)
    (tmp_path / "a.vcf").write_text(f"##fileformat=VCFv4.2\n{HEAD}\n{text}")
    out = tmp_path / "o.vcf"
    variants(folders["language"], tmp_path / "a.vcf", reference=tmp_path / "g.fa", out=out)
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert [line.rsplit("\t", 3)[0] for line in lines] == rows
    assert len({line.split("\t")[7] for line in lines}) == 1
