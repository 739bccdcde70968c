"""Scoring the variants of a VCF, beside two full-window forward passes a variant.

    HELICON_DATA=FOLDER python benchmarks/speed_variants.py [--quick]

The data are 1,000,000 bases of the human reference and the 28,998 records of the 1000 Genomes
Project on them. Batches of records are scored by Helicon's worker; after each, some variants of the
same batch are scored the naive way: a window of 1,024 bases with each allele, as many windows at
once as the device takes best.
Reading the VCF (three times) and writing it annotated is timed by itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from common import conditions, peak_memory, said, speed_up, synchronise, table, write

from helicon.data.genome.genome import Genome
from helicon.files import data_folders
from helicon.forward.memory import letters_at_once
from helicon.forward.network import Network
from helicon.inference.variants.haplotypes import Batch
from helicon.inference.variants.job import VariantsJob
from helicon.inference.variants.scoring import Scoring
from helicon.inference.variants.substitutions import WIDEST
from helicon.inference.variants.views import Reach
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, with_head

CONFIG = ConvNovaConfig()
SEED = 1
WINDOW = 1024
#: Variants of a batch that are scored the naive way.
NAIVE = 32
DATA = "human-1mb-1kgp"


def find() -> Path:
    folders = [folder / DATA for folder in data_folders()]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise SystemExit(f"set HELICON_DATA to the folder that holds {DATA}")
    return found[0]


def build(score: str, device: str) -> Network:
    """A network of random weights that can give a score."""
    torch.manual_seed(SEED)
    model: Any = HeliconForMaskedLM(HeliconConfig.of(CONFIG))
    if score == "head":
        model = with_head(model, "sequence", "single_label", ("no", "yes"))[0]
    return Network(model, device)


def job_for(network: Network, score: str, step: int) -> VariantsJob:
    scoring = Scoring.of(
        network, [score], both_strands=False, window=None, window_step=step, mask_every=None
    )
    folder = find()
    return VariantsJob(
        "unused", folder / "z.vcf.gz", folder / "z.fa.gz", "vcf.gz", scoring,
        tuple(scoring.columns(network)), network.digest, scoring.distance(network),
    )  # fmt: skip


def naive(network: Network, genome: Genome, batch: Batch, number: int) -> None:
    """Two forward passes for some variants of a batch."""
    edits = [allele.edit for allele in batch.alleles if allele.edit is not None]
    some = np.linspace(0, len(edits) - 1, number).astype(int)
    pairs = [Reach(window=WINDOW).pair(genome, edits[i]) for i in some]
    ids = np.stack([view.ids for pair in pairs for view in (pair.ref, pair.alt)])
    at_once = max(1, letters_at_once(network) // WINDOW)
    for first in range(0, len(ids), at_once):
        network.logits(ids[first : first + at_once])


def clocked(work: Any, device: torch.device) -> tuple[float, Any]:
    synchronise(device)
    start = time.perf_counter()
    found = work()
    synchronise(device)
    return time.perf_counter() - start, found


def measure(score: str, step: int, batches: int, device: str, memory: float) -> dict[str, Any]:
    """Time batches of records, and reading and writing."""
    network = build(score, device)
    job = job_for(network, score, step)
    looking, survey = clocked(job.survey, network.device)
    cutting, shards = clocked(lambda: list(job.shards()), network.device)
    worker, genome = job.worker(network), Genome.open(job.reference)
    chosen = np.unique(np.linspace(0, len(shards) - 1, min(batches, len(shards))).astype(int))
    warm = shards[0].payload
    worker(warm._replace(alleles=warm.alleles[:64], records=64))
    ours, theirs, parts = [], [], {}
    for i in chosen.tolist():
        batch = shards[i].payload
        alleles = sum(allele.edit is not None for allele in batch.alleles)
        seconds, parts[i] = clocked(lambda batch=batch: worker(batch), network.device)
        ours.append(seconds / alleles)
        seconds, _ = clocked(
            lambda batch=batch: naive(network, genome, batch, NAIVE), network.device
        )
        theirs.append(seconds / NAIVE)
    writing = timed_writing(job, shards, parts, network.device)
    edits = [a.edit for shard in shards for a in shard.payload.alleles if a.edit is not None]
    return {
        "score": score,
        "window_step": step,
        "records": survey.records,
        "alleles": survey.scored,
        "substitutions": sum(len(edit.ref) == len(edit.alt) <= WIDEST for edit in edits),
        "batches": len(chosen),
        "seconds_an_allele": ours,
        "seconds_an_allele_naive": theirs,
        "input_output_seconds": {"check": looking, "cut": cutting, "write": writing},
        "peak_memory_mb": memory,
    }


def first_batch(argument: tuple[str, int, str]) -> Callable[[], object]:
    """For a fresh process: the work on one batch."""
    score, step, device = argument
    network = build(score, device)
    job = job_for(network, score, step)
    worker, shard = job.worker(network), next(job.shards())
    return lambda: worker(shard.payload)


def timed_writing(
    job: VariantsJob, shards: list[Any], parts: dict[int, pa.Table], device: torch.device
) -> float:
    """Seconds to write all records; batches that were not scored get another's numbers."""
    numbers = np.concatenate([part[job.columns[0].name].to_numpy() for part in parts.values()])

    def filled(i: int) -> pa.Table:
        rows = len(shards[i].payload.alleles)
        made = {name: np.resize(numbers, rows) for name in (column.name for column in job.columns)}
        return pa.table({"note": [a.note for a in shards[i].payload.alleles]} | made)

    tables = [parts.get(i) or filled(i) for i in range(len(shards))]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.vcf.gz"
        return clocked(lambda: job.assemble(iter(tables), out), device)[0]


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    first = result["cases"][0]
    kinds = (
        f"{first['records']:,} records, {first['alleles']:,} alleles that can be scored, "
        f"{first['substitutions']:,} of them substitutions"
    )
    rows = [row(case) for case in result["cases"]]
    head = ["score", "ms an allele", "alleles/s", "times faster", "input and output", "memory, MiB"]
    return "\n".join(
        [
            f"# Variants, ConvNova d {CONFIG.d_model}, one strand\n",
            said(result["conditions"]),
            f"{DATA}: {kinds}.\n",
            table(head, rows),
            f"Times faster than two forward passes over windows of {WINDOW} bases: median over "
            "interleaved batches of 1,000 records, with quartiles. Insertions and deletions are in "
            "it: their `llr` is a pseudo-likelihood, for which ten passes hide every base once. "
            "`head` is that of a sequence model, in windows of 1,024. Input and output: checking, "
            "cutting and writing all records, as a share of the whole run. Memory: what a batch "
            "adds to a fresh process, model and input included.\n",
        ]
    )


def row(case: dict[str, Any]) -> list[str]:
    ours, theirs = case["seconds_an_allele"], case["seconds_an_allele_naive"]
    each = statistics.mean(ours)
    ratio = speed_up(theirs, ours)
    spent = sum(case["input_output_seconds"].values())
    share = spent / (spent + each * case["alleles"])
    step = f", windows every {case['window_step']}" if case["window_step"] > 1 else ""
    return [
        f"`{case['score']}`{step}",
        f"{each * 1e3:.3g}",
        f"{1 / each:,.0f}",
        f"{ratio['median']:.1f} ({ratio['low']:.1f}-{ratio['high']:.1f})",
        f"{spent:.2f} s, {100 * share:.2g} %",
        f"{case['peak_memory_mb']:,.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batches", type=int, default=29, help="of `llr`, 1,000 records each")
    parser.add_argument("--score", action="append", help="only this one; repeat it for several")
    parser.add_argument("--quick", action="store_true", help="two batches of `llr`: a rehearsal")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    others = [] if given.quick else [("pseudo-likelihood", 1), ("euclidean", 1)]
    others += [] if given.quick else [("head", 1), ("head", 128)]
    batches = 2 if given.quick else given.batches
    asked = [("llr", 1, batches), *((score, step, 5) for score, step in others)]
    if given.score is not None:
        asked = [case for case in asked if case[0] in given.score]
    # Before anything else: a new process starts with the peak of the one that starts it.
    memory = [peak_memory(first_batch, (score, step, given.device)) for score, step, _ in asked]
    cases = [
        measure(score, step, number, given.device, peak)
        for (score, step, number), peak in zip(asked, memory, strict=True)
    ]
    result = {
        "conditions": conditions(SEED, torch.device(given.device)),
        "setting": vars(given) | {"config": vars(CONFIG), "window": WINDOW},
        "cases": cases,
    }
    write(f"variants-{given.device}" + ("-quick" if given.quick else ""), result, report(result))


if __name__ == "__main__":
    main()
