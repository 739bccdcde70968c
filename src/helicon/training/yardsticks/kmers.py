"""A k-mer regression: the yardstick of a labelled set, and the test of whether its strand matters.

It takes seconds and needs no model. A network that does not beat it has a fault or needs more data.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from helicon.alphabet import SOFT_BIT, Alphabet
from helicon.data.tables.tables import SequenceTable
from helicon.metrics import measures as metrics

#: Rows and letters of a table that are looked at, at most; it is meant to be quick.
MAX_ROWS, MAX_LETTERS = 10_000, 20_000_000
#: On a set where the regression, read on the other strand, keeps this share of its score, the
#: strand carries no label, and random reverse complements are training data for free.
STRAND_SHARE = 0.7
#: Below this score the regression sees too little for the strand test to mean anything.
MIN_SCORE = 0.1


@dataclass(frozen=True)
class Yardstick:
    """What a regression on k-mer counts reaches on the validation data.

    Attributes:
        k: letters of a k-mer.
        score: MCC of a logistic regression, or Spearman correlation of a ridge regression.
        opposite: the same, with the validation sequences reverse-complemented; NaN for proteins.
    """

    k: int
    score: float
    opposite: float

    @property
    def strand_free(self) -> bool:
        """Whether the labels appear not to depend on the strand that is read."""
        return self.score >= MIN_SCORE and self.opposite >= STRAND_SHARE * self.score


def measure_yardstick(
    train: SequenceTable,
    valid: SequenceTable,
    labels: tuple[NDArray, NDArray],
    alphabet: Alphabet,
    *,
    classes: bool,
) -> Yardstick | None:
    """Fit the regression on the training data, score it on validation; on a sample if they are big.

    Args:
        train: training sequences.
        valid: validation sequences.
        labels: of both, class ids (n,) if `classes`, else numbers (n,).
        alphabet: that the sequences are encoded in.
        classes: whether the labels are classes.

    Returns:
        What it reached; `None` if the sample has one label only.
    """
    k = 5 if alphabet.complements else 2
    rows, held = _sample(train), _sample(valid)
    known, truth = labels[0][rows], labels[1][held]
    if known.min() == known.max():
        return None
    scaler = StandardScaler()
    counts = scaler.fit_transform(kmer_frequencies(train.take(rows), k, alphabet))
    model = LogisticRegression(C=0.01, max_iter=300) if classes else Ridge(alpha=1000.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(counts, known)
    counts = kmer_frequencies(valid.take(held), k, alphabet)
    score = _score(truth, model.predict(scaler.transform(counts)), classes)
    opposite = math.nan
    if alphabet.complements:
        counts = counts[:, _reverse_complements(k, alphabet)]
        opposite = _score(truth, model.predict(scaler.transform(counts)), classes)
    return Yardstick(k, score, opposite)


def _sample(table: SequenceTable) -> NDArray[np.int64]:
    """Rows to look at, drawn at random: all of a small table."""
    rows = np.random.default_rng(0).permutation(len(table))[:MAX_ROWS]
    return rows[: max(1, int((np.cumsum(table.lengths[rows]) <= MAX_LETTERS).sum()))]


def _score(truth: NDArray, predicted: NDArray, classes: bool) -> float:
    if not classes:
        return metrics.spearman(truth, predicted)
    size = int(max(truth.max(), predicted.max())) + 1
    return metrics.mcc(metrics.confusion_matrix(truth, predicted, size))


def kmer_frequencies(table: SequenceTable, k: int, alphabet: Alphabet) -> NDArray[np.float32]:
    """Share of each k-mer in each sequence.

    Args:
        table: n sequences.
        k: letters of a k-mer.
        alphabet: of the sequences; k-mers with a letter outside its certain ones are left out.

    Returns:
        (n, R^k) for R certain letters, k-mers in the order of the alphabet.
    """
    base, digits = _digits(alphabet)
    ids = digits[table.ids & ~np.uint8(SOFT_BIT)]
    lengths = np.diff(table.offsets)
    rows = np.repeat(np.arange(len(table)), lengths)
    left = np.repeat(table.offsets[1:], lengths) - np.arange(len(ids))
    code = np.zeros(max(0, len(ids) - k + 1), dtype=np.int64)
    whole = left[: len(code)] >= k
    for j in range(k):
        digit = ids[j : j + len(code)]
        code = code * base + digit
        whole &= digit >= 0
    cells = rows[: len(code)][whole] * base**k + code[whole]
    counts = np.bincount(cells, minlength=len(table) * base**k).astype(np.float32)
    counts = counts.reshape(len(table), base**k)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _digits(alphabet: Alphabet) -> tuple[int, NDArray[np.int64]]:
    """Number of certain letters, and a table of 128 ids to their rank among them (else -1)."""
    certain = [alphabet.letters.index(letter) for letter in alphabet.real]
    digits = np.full(128, -1, dtype=np.int64)
    digits[certain] = np.arange(len(certain))
    return len(certain), digits


def _reverse_complements(k: int, alphabet: Alphabet) -> NDArray[np.int64]:
    """Index of the reverse complement of every k-mer."""
    base, digits = _digits(alphabet)
    pairs = [alphabet.complements[alphabet.letters.index(letter)] for letter in alphabet.real]
    complement = digits[[alphabet.letters.index(letter) for letter in pairs]]
    codes, opposite = np.arange(base**k), np.zeros(base**k, dtype=np.int64)
    for _ in range(k):
        opposite = opposite * base + complement[codes % base]
        codes = codes // base
    return opposite
