"""Which paths through a model's classes are legal, and what they cost.

Four grammars turn the classes of positions into features:

- `free`: every class may follow every other, at a cost.
- `genes`: coding sequences of bacteria, archaea and viruses. A gene begins with a start codon, goes
  on in whole codons, has no stop codon in frame, and ends with one; on the reverse strand the same,
  mirrored. It may be cut by the end of its contig. The next gene may follow after any distance,
  at once, or on the same strand overlap by one base (`TAATG`) or four (`ATGA`). Other overlaps
  cannot be written as one path of classes.
- `spliced`: exons and introns of each strand, with splice sites between them if the model has
  classes for these: intergenic, exon, donor, intron, acceptor, exon, ..., intergenic.
- `classes`: the steps that a file names, and no others.

Costs are log-probabilities added to those of the model. They can be given, or learned from an
annotation (`transitions.py`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from helicon.data.annotation.annotation import SITE_CLASSES, STRAND_CLASSES
from helicon.data.genome.genome import Genome
from helicon.errors import InputError
from helicon.inference.genes import codons as bits
from helicon.inference.genes.codons import CODES, Codes, Codons
from helicon.inference.genes.viterbi import Graph

Costs = float | NDArray[np.float64]
GrammarName = Literal["free", "genes", "spliced", "classes"]

#: Log-probability of a gene at a given base between genes, on one strand; that of the embedded
#: *E. coli* annotation is -5.6.
GENE = -5.6
#: Log-probability that a gene at the end of a stretch is cut there; three frames are possible.
CUT = -1.1
#: Log-probability of a step from one class to another.
SWITCH = -6.0
#: Shortest gene that is kept, in bases; the limit of Prodigal (Hyatt et al. 2010).
SHORTEST = 90

_BACKGROUND = ("intergenic", "background", "none", "other")
_PARTS = {"exon": "exon", "cds": "exon", "intron": "intron", "donor": "donor",
          "acceptor": "acceptor"}  # fmt: skip
_STRANDS = {"forward": "+", "fwd": "+", "plus": "+", "+": "+", "f": "+",
            "reverse": "-", "rev": "-", "minus": "-", "-": "-", "r": "-"}  # fmt: skip
#: In reading direction.
_SPLICED = ("exon", "donor", "intron", "acceptor")
#: Names of classes that are terms of the Sequence Ontology.
_TERMS = {"cds": "CDS", "gene": "gene", "exon": "exon", "intron": "intron",
          "promoter": "promoter", "enhancer": "enhancer"}  # fmt: skip


class SegmentKind(NamedTuple):
    """A kind of feature that states stand for.

    Attributes:
        name: the class, or what the feature is called.
        type: in the third column of a GFF3 file, a term of the Sequence Ontology.
        strand: `+`, `-` or `.`.
        inside: of a gene: whether its neighbours of other kinds belong to the same gene.
        written: whether it is written at all; introns, which follow from exons, are not.
    """

    name: str
    type: str
    strand: str
    inside: bool = False
    written: bool = True


@dataclass(frozen=True, eq=False)
class Grammar:
    """States, their steps, and what they stand for.

    Attributes:
        name: which grammar.
        states: names of the states.
        emits: for each state the class whose log-probability it has, (S,).
        kind: for each state its place in `kinds`, or -1 for what is no feature, (S,).
        kinds: the kinds of features.
        frame: for each state the place in its codon in reading direction, -1 for none, (S,).
        graph: costs.
        breaks: whether a step begins another feature of the same kind, (codes, S, S).
        reach: bases that the left feature goes on behind such a break (positive), or that the right
            one begins before it (negative), (codes, S, S).
        codons: what the codes of positions are made of; `None` where they are all zero.
        shortest: shorter features are left out, in bases.
    """

    name: GrammarName
    states: tuple[str, ...]
    emits: NDArray[np.intp]
    kind: NDArray[np.intp]
    kinds: tuple[SegmentKind, ...]
    frame: NDArray[np.intp]
    graph: Graph
    breaks: NDArray[np.bool_]
    reach: NDArray[np.int8]
    codons: Codons | None = None
    shortest: int = 1

    def codes(
        self, genome: Genome, chrom: int, start: int, end: int, *, circular: bool = False
    ) -> Codes:
        """Codes of the positions of a stretch; see `Codons.codes`."""
        if self.codons is None:
            return np.zeros(end - start, dtype=np.uint16)
        return self.codons.codes(genome, chrom, start, end, circular=circular)


def choose_grammar(labels: Sequence[str]) -> GrammarName:
    """The grammar that a model's classes call for.

    `spliced` for classes of exons and introns, `genes` for `intergenic`, `forward` and `reverse`
    (and start and stop sites), else `free`.
    """
    if _parts(labels) is not None:
        return "spliced"
    if tuple(labels[:3]) == ("intergenic", *STRAND_CLASSES):
        return "genes"
    return "free"


class _Steps:
    """Collects steps between named states."""

    def __init__(self, states: Sequence[str], codes: int):
        self.at = {name: i for i, name in enumerate(states)}
        size = len(self.at)
        self.codes = np.arange(codes)
        self.costs = np.full((codes, size, size), -np.inf)
        self.breaks = np.zeros((codes, size, size), dtype=bool)
        self.reach = np.zeros((codes, size, size), dtype=np.int8)

    def add(
        self, before: str, after: str, cost: Costs, *, when: Sequence[int] = (), but: int = 0,
        breaks: bool = False, reach: int = 0,
    ) -> None:  # fmt: skip
        """Allow a step at positions whose code has all fields `when` and not that of `but`.

        The cost is one number, or one for each code.
        """
        here = (self.codes & but) == 0
        for mask in when:
            here &= (self.codes & mask) != 0
        place = here, self.at[before], self.at[after]
        self.costs[place] = np.broadcast_to(cost, here.shape)[here]
        self.breaks[place] = breaks
        self.reach[place] = reach


# ---------------------------------------------------------------- genes


def genes(
    labels: Sequence[str],
    *,
    gene: float = GENE,
    codons: Codons | None = None,
    overlaps: bool = True,
    shortest: int = SHORTEST,
) -> Grammar:
    """The grammar of bacterial genes.

    A model without classes for start and stop sites has seven states: `intergenic`, and the three
    codon positions of each strand. One with such classes has states for the first and the last
    codon too.

    Args:
        labels: the model's classes: background, `forward`, `reverse`, and perhaps
            `helicon.data.annotation.annotation.SITE_CLASSES`.
        gene: log cost of a gene.
        codons: start and stop codons, of table 11 if not given.
        overlaps: whether genes of one strand may overlap by one base or four.
        shortest: shorter genes are left out, in bases.

    Raises:
        InputError: the model has other classes.
    """
    if tuple(labels[1:]) not in (STRAND_CLASSES, (*STRAND_CLASSES, *SITE_CLASSES)):
        raise InputError(
            f"grammar: genes needs the classes intergenic, forward and reverse (and sites); the "
            f"model has {', '.join(labels)}"
        )
    background, codons = labels[0], codons or Codons()
    sites = len(labels) > 3
    # Codons in the order of the genome: of a forward gene first to last, of a reverse one last to
    # first. Without site classes one codon is all three.
    forward = ("start", "codon", "stop") if sites else ("codon",) * 3
    coding = [
        f"{codon} {strand} {place}"
        for strand in STRAND_CLASSES
        for codon in dict.fromkeys(forward)
        for place in range(3)
    ]
    states = [background, *coding]
    steps = _Steps(states, CODES)
    steps.add(background, background, 0.0)
    ends = _gene_ends(forward, gene, codons)
    for strand, end in ends.items():
        _add_codons(steps, strand, end)
        steps.add(background, f"{end.first} 0", end.cost_in, when=[end.begins])
        steps.add(f"{end.last} 2", background, end.cost_out, when=[end.ended])
    for before, after in itertools.product(ends.values(), repeat=2):
        cost = before.cost_out + after.cost_in
        when = [before.ended, after.begins]
        steps.add(f"{before.last} 2", f"{after.first} 0", cost, when=when, breaks=True)
    if overlaps:
        _add_overlaps(steps, forward, ends)
    return Grammar(
        name="genes",
        states=tuple(states),
        emits=np.array([0, *(_class_of(name, labels) for name in coding)]),
        kind=np.array([-1, *(STRAND_CLASSES.index(name.split()[1]) for name in coding)]),
        kinds=(SegmentKind("forward", "CDS", "+"), SegmentKind("reverse", "CDS", "-")),
        frame=np.array([-1, *map(_frame, coding)]),
        graph=Graph(*_outer_costs(steps, ends, background), steps.costs),
        breaks=steps.breaks,
        reach=steps.reach,
        codons=codons,
        shortest=shortest,
    )


class _Ends(NamedTuple):
    """The left and the right end of a gene, in the order of the genome.

    Attributes:
        first: state of its leftmost codon.
        inner: of codons inside.
        last: of its rightmost codon.
        begins: field of positions where its leftmost codon may begin.
        ended: field of positions before which its rightmost codon may have ended.
        cost_in: log cost of its left end, by code. What a gene costs is paid where it starts.
        cost_out: of its right end, by code.
        cut_in: of a left end that is cut.
        cut_out: of a right end that is cut.
    """

    first: str
    inner: str
    last: str
    begins: int
    ended: int
    cost_in: NDArray[np.float64]
    cost_out: NDArray[np.float64]
    cut_in: float
    cut_out: float


def _gene_ends(forward: Sequence[str], gene: float, codons: Codons) -> dict[str, _Ends]:
    (start, inner, stop), (r_start, r_inner, r_stop) = (
        [f"{codon} {strand}" for codon in forward] for strand in STRAND_CLASSES
    )
    every = np.arange(CODES)
    starts = np.array([0.0, *codons.different_costs, *[0.0] * bits.START])
    free_, forward_cost, reverse_cost = (
        np.zeros(CODES), gene + starts[bits.field(every, bits.START)],
        gene + starts[bits.field(every, bits.AFTER_R_START)],
    )  # fmt: skip
    return {
        "forward": _Ends(
            start, inner, stop, bits.START, bits.AFTER_STOP, forward_cost, free_, gene + CUT, CUT
        ),
        "reverse": _Ends(
            r_stop, r_inner, r_start, bits.R_STOP, bits.AFTER_R_START, free_, reverse_cost,
            CUT, gene + CUT,
        ),
    }  # fmt: skip


def _add_codons(steps: _Steps, strand: str, end: _Ends) -> None:
    """Steps inside a gene."""
    for codon in dict.fromkeys(end[:3]):
        for place in (0, 1):
            steps.add(f"{codon} {place}", f"{codon} {place + 1}", 0.0)
    if end.first == end.inner:
        over = bits.AFTER_STOP if strand == "forward" else bits.R_STOP
        steps.add(f"{end.inner} 2", f"{end.inner} 0", 0.0, but=over)
        return
    stop = bits.STOP if strand == "forward" else bits.R_STOP
    last = bits.STOP if strand == "forward" else bits.R_START
    for before in (end.first, end.inner):
        steps.add(f"{before} 2", f"{end.inner} 0", 0.0, but=stop)
        steps.add(f"{before} 2", f"{end.last} 0", 0.0, when=[last])


def _add_overlaps(steps: _Steps, forward: Sequence[str], ends: Mapping[str, _Ends]) -> None:
    """Steps from a gene into one of the same strand that overlaps it by one base or four.

    The shared bases belong to the gene that starts in them: for the other one, its last (on the
    reverse strand its leftmost) codon is then cut short by as many.
    """
    start, inner, stop = forward
    costs = ends["forward"].cost_in, ends["reverse"].cost_out
    for length, when, r_when, cut in (
        (1, bits.OVERLAP_1, bits.R_OVERLAP_1, stop),
        (4, bits.OVERLAP_4, bits.R_OVERLAP_4, inner),
    ):
        left, right = f"{cut} forward 1", f"{start} forward 0"
        steps.add(left, right, costs[0], when=[when], breaks=True, reach=length)
        left, right = f"{start} reverse 2", f"{cut} reverse 1"
        steps.add(left, right, costs[1], when=[r_when], breaks=True, reach=-length)


def _outer_costs(
    steps: _Steps, ends: Mapping[str, _Ends], background: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Costs of the first and of the last state of a stretch, by the codes there and behind it.

    A stretch begins and ends between genes, with a whole gene, or inside one, which is dearer.
    """
    left, right = (np.full((CODES, len(steps.at)), -np.inf) for _ in range(2))
    left[:, steps.at[background]] = right[:, steps.at[background]] = 0.0
    for strand, end in ends.items():
        for place in range(3):
            left[:, steps.at[f"{end.inner} {place}"]] = end.cut_in
            right[:, steps.at[f"{end.inner} {place}"]] = end.cut_out
        if end.first != end.inner:  # a whole stop codon at the very end is no inner codon
            stop = bits.STOP if strand == "forward" else bits.R_STOP
            left[(steps.codes & stop) != 0, steps.at[f"{end.inner} 0"]] = -np.inf
        begins, ended = ((steps.codes & mask) != 0 for mask in (end.begins, end.ended))
        left[begins, steps.at[f"{end.first} 0"]] = end.cost_in[begins]
        right[ended, steps.at[f"{end.last} 2"]] = end.cost_out[ended]
    return left, right


def _class_of(state: str, labels: Sequence[str]) -> int:
    """The class of a coding state: its site's, if it has one."""
    codon, strand, _ = state.split()
    site = f"{codon}_{strand}"
    return labels.index(site if site in labels else strand)


def _frame(state: str) -> int:
    """Place in the codon in reading direction: those of reverse genes are numbered backwards."""
    _, strand, place = state.split()
    return int(place) if strand == "forward" else 2 - int(place)


# ---------------------------------------------------------------- graphs of classes


def free(labels: Sequence[str], *, switch: float = SWITCH) -> Grammar:
    """Every class may follow every other.

    Args:
        labels: the model's classes; the first is no feature if it is called intergenic,
            background, none or other.
        switch: log cost of a step from one class to another.
    """
    costs = np.full((len(labels), len(labels)), switch)
    np.fill_diagonal(costs, 0.0)
    return of_classes("free", labels, costs)


def spliced(labels: Sequence[str], *, gene: float = GENE, switch: float = SWITCH) -> Grammar:
    """Genes with introns.

    The names of the classes say what they are: one background, and `exon`, `intron` and perhaps
    `donor` and `acceptor` with a word for the strand (`forward`, `reverse`; `+`, `-`).

    Args:
        labels: the model's classes.
        gene: log cost of a gene.
        switch: log cost of a step between exon, splice site and intron.

    Raises:
        InputError: the names cannot be read so.
    """
    parts = _parts(labels)
    if parts is None:
        raise InputError(
            "grammar: spliced needs an intergenic class, and exons and introns with their strand "
            f"(exon_forward); the model has {', '.join(labels)}; name the steps in a file"
        )
    costs = np.full((len(labels),) * 2, -np.inf)
    np.fill_diagonal(costs, 0.0)
    background = parts.index(None)
    for strand in "+-":
        ring = [parts.index(p) for name in _SPLICED if (p := (name, strand)) in parts]
        if not ring:
            continue
        costs[background, ring[0]] = costs[ring[0], background] = gene / 2
        following = [*ring[1:], ring[0]]
        for one, two in zip(ring, following, strict=True):
            costs[(one, two) if strand == "+" else (two, one)] = switch
    return of_classes("spliced", labels, costs)


def of_classes(
    name: GrammarName,
    labels: Sequence[str],
    costs: NDArray[np.floating],
    *,
    start: Iterable[str] | None = None,
    end: Iterable[str] | None = None,
) -> Grammar:
    """A grammar whose states are the model's classes.

    Args:
        name: of the grammar.
        labels: the model's classes.
        costs: log cost of the step from one to another, (K, K); -inf where there is none.
        start: classes that a stretch may begin with; all if not given.
        end: classes that it may end with.
    """
    size = len(labels)

    def among(names: Iterable[str] | None) -> NDArray[np.float64]:
        chosen = set(labels if names is None else names)
        return np.array([0.0 if label in chosen else -np.inf for label in labels])

    parts = _parts(labels)
    kinds: list[SegmentKind] = []
    kind: list[int] = []
    for i, label in enumerate(labels):
        is_background = parts[i] is None if parts else label.lower() in _BACKGROUND and i == 0
        kind.append(-1 if is_background else len(kinds))
        if not is_background:
            kinds.append(_kind(label, parts[i] if parts else None))
    return Grammar(
        name=name,
        states=tuple(labels),
        emits=np.arange(size),
        kind=np.array(kind),
        kinds=tuple(kinds),
        frame=np.full(size, -1),
        graph=Graph(among(start)[None], among(end)[None], np.asarray(costs, np.float64)[None]),
        breaks=np.zeros((1, size, size), dtype=bool),
        reach=np.zeros((1, size, size), dtype=np.int8),
    )


def _kind(label: str, part: tuple[str, str] | None) -> SegmentKind:
    """What a class is as a feature."""
    if part is not None:
        return SegmentKind(label, "exon", part[1], inside=True, written=part[0] == "exon")
    words = _words(label)
    strand = next((_STRANDS[word] for word in words if word in _STRANDS), ".")
    term = next((_TERMS[word] for word in words if word in _TERMS), "sequence_feature")
    return SegmentKind(label, term, strand)


def _words(label: str) -> list[str]:
    return re.findall(r"[a-z]+|[+-]", label.lower())


def _parts(labels: Sequence[str]) -> list[tuple[str, str] | None] | None:
    """Part of a spliced gene and strand of each class, `None` for the background.

    Returns:
        `None` where the classes are not those of spliced genes.
    """
    found: list[tuple[str, str] | None] = []
    for label in labels:
        words = _words(label)
        part = next((_PARTS[word] for word in words if word in _PARTS), None)
        strand = next((_STRANDS[word] for word in words if word in _STRANDS), None)
        found.append((part, strand) if part and strand else None)
    strands = {part[1] for part in found if part}
    whole = all({("exon", s), ("intron", s)} <= set(found) for s in strands)
    once = len(set(found)) == len(found) and found.count(None) == 1
    return found if strands and whole and once else None
