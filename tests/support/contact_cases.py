"""Proteins whose contacts follow from a known rule, for the tests of contacts."""

import json
from pathlib import Path

import numpy as np
import torch

from helicon.alphabet import PROTEIN
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, save

#: Receptive field 1 + 4 * (1 + 2) = 13.
CONFIG = ByteNetConfig(d_model=16, blocks=2, max_dilation=2)
#: Residues that hold each other, one of either.
ACID, BASE = "DK"


def rule_protein(rng: np.random.Generator, length: int) -> dict:
    """Residues i and j are in contact exactly if one is D, the other K, and |i - j| >= 6.

    The other letters are drawn from all that are left.
    """
    others = [PROTEIN.letters.index(letter) for letter in "ACEFGHILMNPQRSTVWY"]
    ids = rng.choice(others, length).astype(np.uint8)
    chosen = rng.permutation(length)
    ids[chosen[: length // 7]] = PROTEIN.letters.index(ACID)
    ids[chosen[length // 7 : 2 * (length // 7)]] = PROTEIN.letters.index(BASE)
    sequence = PROTEIN.decode(ids)
    i, j = np.triu_indices(length, 6)
    letters = np.array(list(sequence))
    held = (letters[i] != letters[j]) & np.isin(letters[i], list(ACID + BASE))
    held &= np.isin(letters[j], list(ACID + BASE))
    return {"sequence": sequence, "contacts": np.stack([i, j], axis=1)[held].tolist()}


def rule_file(path: Path, count: int, seed: int = 0, shortest: int = 56, longest: int = 72) -> Path:
    """JSON lines of such proteins."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, count)
    records = [{"name": f"p{seed}-{i}", **rule_protein(rng, int(n))} for i, n in enumerate(lengths)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def model_folder(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    return save(HeliconForMaskedLM(HeliconConfig.of(CONFIG)), folder)
