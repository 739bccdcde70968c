"""Chromosome names of one file found among those of another: `chr1` is `1`, `chrM` is `MT`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from helicon.data.reading.compressed import OR_LATIN_1

_MITOCHONDRION = {"m", "mt", "mito", "mitochondrion"}
_ROMAN = "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX".lower().split()

#: RefSeq accessions of the human chromosomes, in lower case and without version.
_HUMAN = {f"nc_{number:06d}": str(number) for number in range(1, 23)}
_HUMAN |= {"nc_000023": "x", "nc_000024": "y", "nc_012920": "mt"}


class Names:
    """The chromosome names of a genome, to be found by the names that other files give them.

    An equal name always wins; in a file whose names are percent-encoded, the one that is equal when
    it is decoded; in others, such a one comes second. Otherwise names are equal without the prefix
    `chr`, whatever their case; all names of the mitochondrion are equal; a version (`NC_000913.3`)
    may be missing on one side; a RefSeq accession of a human chromosome is its number or letter
    (`NC_000023.11` is `X`); and where the known names hold both II and III, an Arabic number means
    the Roman one (yeast: `chr10` is `X`).
    """

    def __init__(self, known: Sequence[str]):
        exact = {name: i for i, name in enumerate(known)}
        self.exact = exact
        self._by_key = _grouped((_key(name), i) for name, i in exact.items())
        self._by_stem = _grouped((_stem(_key(name)), i) for name, i in exact.items())
        stems = ((_stem(_key(name)), i) for name, i in exact.items())
        self._by_accession = _grouped((_HUMAN[stem], i) for stem, i in stems if stem in _HUMAN)
        self._roman = "ii" in self._by_key and "iii" in self._by_key

    def find(self, name: str, *, encoded: bool = False) -> int | None:
        """Position of the chromosome that a name means; `None` if it is none, or one of several.

        Args:
            name: to look up.
            encoded: the file's format encodes names (`%2C` is a comma), as GFF3 does.
        """
        decoded = unquote(name, errors=OR_LATIN_1) if "%" in name else name
        for one in (decoded, name) if encoded else (name, decoded):
            if one in self.exact:
                return self.exact[one]
        options = self._meant(_key(decoded))
        return options[0] if len(options) == 1 else None

    def _meant(self, key: str) -> list[int]:
        by_key = self._by_key
        options = by_key.get(key) or self._by_stem.get(key) or by_key.get(_stem(key)) or []
        options = options or by_key.get(_HUMAN.get(_stem(key), ""), [])
        options = options or self._by_accession.get(key, [])
        if not options and self._roman and key.isdecimal() and 0 < int(key) <= len(_ROMAN):
            options = by_key.get(_ROMAN[int(key) - 1], [])
        return options


def match_names(found: Iterable[str], known: Sequence[str]) -> dict[str, int]:
    """Say which chromosome each name means, as `Names.find`.

    Args:
        found: names to look up.
        known: names of the genome.

    Returns:
        For each name found, its position in `known`. Names that match nothing, or several, are
        absent.
    """
    names = Names(known)
    places = {name: names.find(name) for name in set(found)}
    return {name: place for name, place in places.items() if place is not None}


def _key(name: str) -> str:
    key = name.lower().removeprefix("chr") or name.lower()
    return "mt" if key in _MITOCHONDRION else key


def _stem(key: str) -> str:
    """The key without its version."""
    stem, dot, version = key.rpartition(".")
    return stem if dot and version.isdecimal() else key


def _grouped(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for key, i in pairs:
        groups.setdefault(key, []).append(i)
    return groups
