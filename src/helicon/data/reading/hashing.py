"""Random numbers without a generator: a number's hash, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def mix(numbers: NDArray[np.integer], salt: int = 0) -> Hashes:
    """Hash whole numbers to 64 evenly spread bits (the finaliser of SplitMix64, a bijection).

    Args:
        numbers: of any shape.
        salt: another salt gives other, independent hashes.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(numbers).astype(np.uint64)
        z += np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


def below(hashes: Hashes, bounds: NDArray[np.integer]) -> NDArray[np.int64]:
    """Whole numbers drawn evenly from 0 to below `bounds`, by 32 bits of the hashes.

    Args:
        hashes: of `mix`, shape (n,).
        bounds: from 1 to 2**31, shape (n,).
    """
    high = hashes >> np.uint64(32)
    return (high * np.asarray(bounds).astype(np.uint64) >> np.uint64(32)).astype(np.int64)
