"""The scores by name."""

from __future__ import annotations

import sys

from helicon.errors import InputError
from helicon.forward.network import HeadType, Network
from helicon.inference.variants.scores.features import COSINE, EUCLIDEAN
from helicon.inference.variants.scores.likelihoods import LLR, PSEUDO_LIKELIHOOD
from helicon.inference.variants.scores.outputs import HEAD
from helicon.inference.variants.scores.score import Score

#: All scores; a network gives by itself the first that its head can.
SCORES: dict[str, Score] = {}

_KINDS: dict[HeadType, str] = {
    "language": "a language model",
    "bare": "a model without a head",
    "sequence": "a model with a head for sequences",
    "token": "a model with a head for positions",
    "pair": "a model of pairs",
}


def register(score: Score) -> Score:
    """Make a score known by its name, to `variants` and its command line.

    Raises:
        ValueError: there is another of this name.
    """
    if SCORES.setdefault(score.name, score) is not score:
        raise ValueError(f"a score is named {score.name!r} already; choose another name")
    return score


for _score in (LLR, PSEUDO_LIKELIHOOD, HEAD, EUCLIDEAN, COSINE):
    register(_score)


def default(network: Network) -> Score:
    """The score that a network gives if none is asked for."""
    found = next(score for score in SCORES.values() if network.head_type in score.heads)
    _check(found, network)
    return found


def named(name: str, network: Network) -> Score:
    """A score of a network.

    Raises:
        InputError: there is none of this name, or the network cannot give it.
    """
    former = {old: score for score in SCORES.values() for old in score.former}
    score = SCORES.get(name) or former.get(name)
    if score is None:
        raise InputError(f"score: {name!r} is not known; choose {', '.join(SCORES)}")
    if name not in SCORES:
        print(f"helicon: the score {name} is now called {score.name}", file=sys.stderr, flush=True)
    _check(score, network)
    return score


def _check(score: Score, network: Network) -> None:
    if network.head_type not in score.heads:
        possible = ", ".join(n for n, other in SCORES.items() if network.head_type in other.heads)
        what = _KINDS[network.head_type]
        raise InputError(f"score: {what} has no {score.name!r}; choose {possible}")
    if why := score.refuses(network):
        raise InputError(f"score: {why}")
