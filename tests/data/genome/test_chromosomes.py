"""Chromosome names: matched only where there is no doubt."""

import pytest

from helicon.data.genome.chromosomes import match_names

YEAST = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "Mito"]
HUMAN = ["chr1", "chr2", "chr10", "chrX", "chrM"]


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        ("chr1", HUMAN, "chr1"),
        ("1", HUMAN, "chr1"),
        ("X", HUMAN, "chrX"),
        ("MT", HUMAN, "chrM"),
        ("chrMito", HUMAN, "chrM"),
        ("Chr2", HUMAN, "chr2"),
        ("chr3", HUMAN, None),
        ("x1", HUMAN, None),
        ("10", HUMAN, "chr10"),
        ("chrX", ["1", "2", "10"], None),  # X of man is not 10
        ("chr10", YEAST, "X"),
        ("chrX", YEAST, "X"),
        ("chr4", YEAST, "IV"),
        ("chr21", YEAST, None),
        ("17", YEAST, None),
        ("chrM", YEAST, "Mito"),
        ("NC_000913", ["NC_000913.3"], "NC_000913.3"),
        ("NC_000913.3", ["NC_000913"], "NC_000913"),
        ("NC_000913.2", ["NC_000913.3"], None),
        ("KI270706", ["KI270706.1", "KI270706.2"], None),
        ("chr1", ["1", "chr1"], "chr1"),
        ("CHR1", ["1", "chr1"], None),
        ("chr", ["chr"], "chr"),
        ("NC_000010.11", HUMAN, "chr10"),
        ("NC_000023.10", HUMAN, "chrX"),
        ("NC_012920.1", HUMAN, "chrM"),
        ("NC_000003.12", HUMAN, None),
        ("chr1", ["NC_000001.11", "NC_000010.11"], "NC_000001.11"),
        ("MT", ["NC_000001.11", "NC_012920.1"], "NC_012920.1"),
        ("1", ["NC_000001.10", "NC_000001.11"], None),
        ("NC_000001.10", ["NC_000001.11"], None),  # another assembly
    ],
)
def test_names(found, known, expected):
    matched = match_names([found], known)
    assert matched == ({} if expected is None else {found: known.index(expected)})
