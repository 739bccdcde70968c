"""What can be asked of a network about an edit of a genome.

A network with a finite receptive field is asked about the chromosome as a whole: nothing is cut
off. Others, and those that give one row of outputs a sequence, are asked about windows.

Substitutions of a few letters are computed as differences from the reference
(`variant_substitutions.py`). Whatever else changes, insertions and deletions and the variants of a
haplotype, is computed on both sequences (`variant_pairs.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.forward.network import HeadType, Network
from helicon.inference.variants.alleles import LONGEST
from helicon.inference.variants.views import Reach

#: Scores, and the kinds of models that can give them.
SCORES: dict[str, tuple[HeadType, ...]] = {
    "llr": ("language",),
    "pseudo-likelihood": ("language",),
    "embedding": ("language", "sequence", "token", "bare"),
    "cosine": ("language", "sequence", "token", "bare"),
    "head": ("sequence", "token"),
}
#: The score that a model gives if none is asked for.
DEFAULT: dict[HeadType, str] = {
    "language": "llr", "sequence": "head", "token": "head", "bare": "embedding",
}  # fmt: skip
#: Letters of a window where one is needed and none is given.
WINDOW = 1024

REAL = len(DNA.real)


@dataclass(frozen=True)
class Scoring:
    """What is asked of a network.

    Attributes:
        scores: keys of `SCORES`.
        both_strands: average over the two strands.
        window: letters of the window that the network sees; `None` for the whole chromosome.
        window_step: windows begin at multiples of it.
        mask_every: for pseudo-likelihoods, every so many-th letter is hidden at once.
    """

    scores: tuple[str, ...]
    both_strands: bool = True
    window: int | None = None
    window_step: int = 1
    mask_every: int = 10

    @classmethod
    def of(
        cls,
        network: Network,
        scores: Sequence[str] | None,
        *,
        both_strands: bool,
        window: int | None,
        window_step: int,
        mask_every: int,
    ) -> Scoring:
        """Check what is asked for, and choose what is not said.

        Raises:
            InputError: the model cannot give a score, or an option is out of range.
        """
        if network.alphabet != DNA:
            raise InputError("variants: this model reads no DNA; choose a DNA model")
        asked = tuple(dict.fromkeys(scores or [DEFAULT[network.head_type]]))
        for score in asked:
            _check_score(score, network.head_type)
        if "head" in asked and network.pools_cls:
            raise InputError(
                "score: this model pools CLS tokens, which every variant changes; choose embedding "
                "or cosine, or a model fine-tuned with another pooling"
            )
        local = network.halo is not None and network.model.backbone.cell == 1
        if window is None and (network.head_type == "sequence" or not local):
            window = WINDOW
        if window is not None and window < 8:
            raise InputError(f"window: must be at least 8 letters, not {window}")
        if window_step != 1 and not 1 <= window_step <= (window or 0) // 4:
            raise InputError(
                f"window-step: must be from 1 to a quarter of the window, not {window_step}"
            )
        if mask_every < 2:
            raise InputError(f"mask-every: must be at least 2, not {mask_every}")
        return cls(asked, both_strands, window, window_step, mask_every)

    def columns(self, network: Network) -> list[str]:
        """Names of the numbers that an edit gets: the scores, and one for each output of a head."""
        found = []
        for score in self.scores:
            outputs = [f"{score}:{label}" for label in network.labels]
            found += outputs if score == "head" else [score]
        return found

    @property
    def strands(self) -> tuple[bool, ...]:
        """Which strands are looked at: `True` for the reverse."""
        return (False, True) if self.both_strands else (False,)

    @property
    def longest(self) -> int:
        """Letters of the longest allele that is scored: it has to lie well inside of a window."""
        return LONGEST if self.window is None else min(LONGEST, self.window // 4)

    def distance(self, network: Network) -> int:
        """Bases between edits of a haplotype that see each other at most."""
        reach = self.reach(network, substitution=False)
        return 2 * (reach.margin or reach.window or 0)

    def reach(self, network: Network, *, substitution: bool) -> Reach:
        """How much of the chromosome an edit's scores depend on."""
        if self.window is not None:
            return Reach(window=self.window, step=self.window_step)
        assert network.halo is not None
        near = substitution and self.scores == ("llr",)
        return Reach(margin=network.halo * (1 if near else 2))


def _check_score(score: str, kind: HeadType) -> None:
    if score not in SCORES:
        raise InputError(f"score: {score!r} is not known; choose {', '.join(SCORES)}")
    if kind not in SCORES[score]:
        possible = ", ".join(name for name, kinds in SCORES.items() if kind in kinds)
        what = {
            "language": "a language model", "bare": "a model without a head",
            "sequence": "a model with a head for sequences",
            "token": "a model with a head for positions",
        }[kind]  # fmt: skip
        raise InputError(f"score: {what} has no {score!r}; choose {possible}")


# ---------------------------------------------------------------- from outputs to scores


def likelihoods(network: Network, features: Tensor) -> Tensor:
    """Log-probabilities of the four bases (..., 4), from features (..., D)."""
    return network.head(features)[..., :REAL].log_softmax(-1)


def distances(vectors: Tensor) -> dict[str, Tensor]:
    """Distances of mean features with REF and with ALT, (n, 2, D)."""
    ref, alt = vectors.unbind(1)
    cosine = torch.nn.functional.cosine_similarity(ref.double(), alt.double(), dim=1)
    return {"embedding": (alt - ref).norm(dim=1), "cosine": (1 - cosine).float()}


def largest(changes: Tensor) -> Tensor:
    """The change of largest size (n, K) among positions (n, S, K)."""
    at = changes.abs().argmax(1, keepdim=True)
    return changes.gather(1, at)[:, 0]
