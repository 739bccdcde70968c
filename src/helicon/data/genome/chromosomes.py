"""Chromosome names of one file found among those of another: `chr1` is `1`, `chrM` is `MT`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_MITOCHONDRION = {"m", "mt", "mito", "mitochondrion"}
_ROMAN = "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX".lower().split()

#: RefSeq accessions of the human chromosomes, in lower case and without version.
_HUMAN = {f"nc_{number:06d}": str(number) for number in range(1, 23)}
_HUMAN |= {"nc_000023": "x", "nc_000024": "y", "nc_012920": "mt"}


def match_names(found: Iterable[str], known: Sequence[str]) -> dict[str, int]:
    """Say which chromosome each name means.

    An equal name always wins. Otherwise names are equal without the prefix `chr`, whatever their
    case; all names of the mitochondrion are equal; a version (`NC_000913.3`) may be missing on one
    side; a RefSeq accession of a human chromosome is its number or letter (`NC_000023.11` is `X`);
    and where the known names hold both II and III, an Arabic number means the Roman one (yeast:
    `chr10` is `X`).

    Args:
        found: names to look up.
        known: names of the genome.

    Returns:
        For each name found, its position in `known`. Names that match nothing, or several, are
        absent.
    """
    exact = {name: i for i, name in enumerate(known)}
    by_key = _grouped((_key(name), i) for name, i in exact.items())
    by_stem = _grouped((_stem(_key(name)), i) for name, i in exact.items())
    stems = ((_stem(_key(name)), i) for name, i in exact.items())
    by_accession = _grouped((_HUMAN[stem], i) for stem, i in stems if stem in _HUMAN)
    roman = "ii" in by_key and "iii" in by_key
    matched = {}
    for name in set(found):
        key = _key(name)
        options = by_key.get(key) or by_stem.get(key) or by_key.get(_stem(key)) or []
        options = options or by_key.get(_HUMAN.get(_stem(key), ""), [])
        options = options or by_accession.get(key, [])
        if not options and roman and key.isdecimal() and 0 < int(key) <= len(_ROMAN):
            options = by_key.get(_ROMAN[int(key) - 1], [])
        if name in exact:
            matched[name] = exact[name]
        elif len(options) == 1:
            matched[name] = options[0]
    return matched


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
