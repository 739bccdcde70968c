"""Zero-shot scores of TEM-1 beta-lactamase mutants, by a CARP pretrained on very little.

    HELICON_DATA=FOLDER python benchmarks/zero_shot.py RUN [--work DIR]

RUN is a run of `helicon pretrain` (see `carp_pretraining.py`). The 4,996 single mutants of the scan
are ranked by `helicon mutants` in each of its ways, and beside it by the same network from random
weights, by the frequencies of residues in the training part, and by the scores that the
DeepSequence authors ship with the table (a model of thousands of relatives of this protein). The
measurement is growth at 2,500 micrograms of ampicillin a millilitre.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from common import conditions, said, table, write

from helicon.alphabet import PROTEIN, SOFT_BIT
from helicon.data.catalogue.catalogue import find
from helicon.data.genome.fasta import read_fasta
from helicon.data.tables.store import SequenceStore
from helicon.inference.mutants.mutants import mutants
from helicon.inference.mutants.scores import rank_correlation
from helicon.models.hub import save, untrained

TABLE = "blat-ecolx/BLAT_ECOLX_Ranganathan2015.csv.gz"
FULL = "blat-ecolx/P62593.fasta.gz"
MEASURED, DEEPSEQUENCE = "2500", "mutation_effect_prediction_vae_ensemble"
STRATEGIES = ("masked-marginal", "wild-type-marginal", "pseudo-likelihood")
SEEDS = 5
#: Spearman of the published networks on this protein's four scans, as ProteinGym gives them for
#: Stiffler 2015, the nearest to this one.
PUBLISHED = {"CARP-600k": 0.03, "CARP-38M": 0.532, "CARP-76M": 0.598, "CARP-640M": 0.703}


def wild_type(work: Path) -> Path:
    """The whole protein, from a mutant in which nothing changes."""
    letters = next(
        record.ids
        for record in read_fasta(find(FULL), PROTEIN)
        if (name := record.name.split("|")[1].split("_")[1])[0] == name[-1]
    )
    path = work / "tem1.fasta"
    path.write_text(f">TEM-1\n{PROTEIN.decode(letters & np.uint8(SOFT_BIT - 1))}\n")
    return path


def scored(model: str, wild: Path, out: Path, strategy: str) -> dict[str, float]:
    """Rank correlation of one model, with its interval."""
    done = mutants(model, find(TABLE), wild_type=wild, out=out, score=MEASURED, strategy=strategy)
    (one,) = done.correlations
    return {"spearman": one.spearman, "low": one.low, "high": one.high, "rows": one.rows}


def frequencies(proteomes: Path) -> np.ndarray:
    """Logarithm of the frequency of every letter."""
    store = SequenceStore.open(proteomes, alphabet=PROTEIN)
    counts = np.bincount(np.asarray(store.ids) & np.uint8(SOFT_BIT - 1), minlength=PROTEIN.size)
    return np.log((counts + 1) / (counts + 1).sum())


def correlated(scores: np.ndarray, measured: np.ndarray, name: str) -> dict[str, float]:
    """Rank correlation of any scores, over the rows that have both."""
    known = ~np.isnan(scores) & ~np.isnan(measured)
    one = rank_correlation(name, measured[known], scores[known])
    return {"spearman": one.spearman, "low": one.low, "high": one.high, "rows": one.rows}


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows = [
        [name, f"{one['spearman']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", str(one["rows"])]
        for name, one in result["scores"].items()
    ]
    published = ", ".join(f"{name} {rho}" for name, rho in PUBLISHED.items())
    return "\n".join(
        [
            "# Zero-shot: TEM-1 beta-lactamase\n",
            said(result["conditions"]),
            table(["", "Spearman", "95 % interval over mutants", "mutants"], rows),
            "What this says: a CARP-600k that has seen three proteomes knows which residues are "
            "common, and little of what this protein needs. Even the published CARP-600k, trained "
            "on 42 million sequences, has next to nothing to say here; what works are larger "
            f"networks (masked marginals, Stiffler 2015, as ProteinGym lists them: {published}), "
            "or a model of the protein's own relatives.\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("proteomes", type=Path, help="what RUN was pretrained on")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        wild = wild_type(work)
        scores = {
            f"pretrained, {s}": scored(str(given.run), wild, work / f"{s}.parquet", s)
            for s in STRATEGIES
        }
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            save(untrained("carp-600k"), work / f"random-{seed}")
            name = f"random weights, seed {seed}, masked-marginal"
            out = work / f"random-{seed}.parquet"
            scores[name] = scored(str(work / f"random-{seed}"), wild, out, "masked-marginal")
    frame = pl.read_csv(find(TABLE), columns=["mutant", MEASURED, DEEPSEQUENCE])
    measured = frame[MEASURED].cast(pl.Float64).to_numpy()
    log_p = frequencies(given.proteomes)
    at = {letter: i for i, letter in enumerate(PROTEIN.letters)}
    change = np.array([log_p[at[m[-1]]] - log_p[at[m[0]]] for m in frame["mutant"]])
    scores["residue frequencies"] = correlated(change, measured, "residue frequencies")
    deep = frame[DEEPSEQUENCE].cast(pl.Float64).to_numpy()
    scores["DeepSequence, as shipped"] = correlated(deep, measured, "DeepSequence")
    result = {
        "conditions": conditions(0, torch.device("cpu")),
        "scores": scores,
        "published": PUBLISHED,
    }
    write("zero-shot", result, report(result))


if __name__ == "__main__":
    main()
