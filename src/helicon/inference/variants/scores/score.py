"""What a score of variants is.

A score has a name, says which networks can give it, and compares the sequences without and with an
allele. It does so through its *evidence*: numbers that a network gives of one strand, which are
averaged over the strands before they are compared. Scores of one evidence share its computation.

To add one, write a `Score` (and an `Evidence`, if none of the present ones will do) and `register`
it (`helicon.inference.variants.scores.registry`):

    class Alone(Evidence):
        def of_pair(self, pair, strand):
            for view, sign in ((pair.ref, -1), (pair.alt, 1)):
                yield Pass(view.ids, lambda features, sign=sign: sign * features.norm())

    register(Score("norm", "change of the features' norm", Alone(), heads=("language", "bare")))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helicon.alphabet import DNA, Ids
from helicon.forward.network import HeadType, Network
from helicon.inference.variants.scores.changes import Group, Side
from helicon.inference.variants.views import Pair, View
from helicon.models.parts.substitutions import Changed

REAL = len(DNA.real)


@dataclass(frozen=True, eq=False)
class Pass:
    """One sequence that the network has to read. Equal sequences are read once for all who ask.

    Attributes:
        ids: letters of the forward strand, (L,).
        give: called with the features (L, D), in the order of the forward strand. What all passes
            of an allele give is summed.
    """

    ids: Ids
    give: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Strand:
    """How a pair of sequences is read.

    Attributes:
        network: the network.
        reverse: whether it reads the reverse strand.
        mask_every: of pseudo-likelihoods, every so many-th letter is hidden at once.
        windowed: whether the sequences are windows, each of which the network sees as a whole.
    """

    network: Network
    reverse: bool
    mask_every: int
    windowed: bool

    def flanks(self, pair: Pair) -> tuple[int, int]:
        """Letters on the left and right of an allele that are looked at."""
        return pair.flanks(None if self.windowed else self.network.halo)

    def looked_at(self, pair: Pair, view: View) -> slice:
        """The letters of one of a pair's views that are looked at: the allele and its flanks."""
        left, right = self.flanks(pair)
        return slice(view.first - left, view.last + right)

    def likelihoods(self, features: Tensor) -> Tensor:
        """Log-probabilities (m, 4) of the bases of the forward strand, from features (m, D)."""
        log_p = likelihoods(self.network, features[None])[0]
        return log_p[:, list(DNA.complement_ids[:REAL])] if self.reverse else log_p

    def outputs(self, features: Tensor) -> Tensor:
        """Outputs (m, K) or (K,) of features (m, D); columns that mean the forward strand."""
        found = self.network.outputs(features[None])[0]
        if not self.reverse or self.network.head_type == "sequence":
            return found
        return found[:, torch.from_numpy(self.network.opposite).to(found.device)]


class Evidence(ABC):
    """Numbers that a network gives of an allele, on one strand. Equal ones are computed once.

    This one is always computed from both sequences, as any allele can be.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @abstractmethod
    def of_pair(self, pair: Pair, strand: Strand) -> Iterator[Pass]:
        """The passes over the sequences without and with an allele.

        Args:
            pair: the sequences, on any background, their alleles of any lengths.
            strand: how they are read.
        """


class FromFeatures(Evidence):
    """Evidence that follows from the features with the allele; a substitution's are had cheaply."""

    @abstractmethod
    def of_changed(self, side: Side, changed: Changed) -> Tensor:
        """The evidence of n substitutions, (n, ...); what `of_pair` would give.

        Args:
            side: the sequence without them, on one strand.
            changed: the features that each changes, in the order of that strand.
        """


class FromSubstitutions(Evidence):
    """Evidence that asks for changed features itself, hidden letters among them, say."""

    @abstractmethod
    def of_groups(self, side: Side, groups: Sequence[Group]) -> list[Tensor]:
        """The evidence of each group's n substitutions, (n, ...); what `of_pair` would give."""


def as_it_is(evidence: Tensor) -> Tensor:
    """The evidence itself is the score."""
    return evidence


def refuses_none(network: Network) -> str:
    """Every network of the right head can give the score."""
    return ""


@dataclass(frozen=True)
class Score:
    """What a network says of an allele.

    It is sent to other processes (`--devices`): its functions and classes stand in a module.

    Attributes:
        name: what `--score` and the output call it.
        says: what it is, for the header of a VCF.
        evidence: what it is computed from.
        heads: the heads of networks that can give it (`helicon.forward.network.HeadType`).
        compare: the score (n,) of evidence (n, ...) that was averaged over the strands; (n, K) of
            one that has a column for each output of the head.
        by_output: whether it has such columns.
        options: options of `variants` that matter to it and not to every score.
        refuses: why a network of such a head cannot give it, and what to do; empty if it can.
        former: names of earlier versions, which are still understood.
    """

    name: str
    says: str
    evidence: Evidence
    heads: tuple[HeadType, ...]
    compare: Callable[[Tensor], Tensor] = as_it_is
    by_output: bool = False
    options: tuple[str, ...] = ()
    refuses: Callable[[Network], str] = refuses_none
    former: tuple[str, ...] = ()


def likelihoods(network: Network, features: Tensor) -> Tensor:
    """Log-probabilities of the four bases (..., 4), from features (..., D)."""
    return network.head(features)[..., :REAL].log_softmax(-1)


def entries(log_p: Tensor, letters: Tensor) -> Tensor:
    """Of (..., 4) those of letters (...)."""
    return log_p.gather(-1, letters[..., None])[..., 0]
