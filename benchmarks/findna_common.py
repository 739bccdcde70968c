"""What the measurements of FinDNA's objective share: networks, pretraining, labelled sets.

A labelled set is cut so that its cost is bounded: a fixed draw of its training rows is the pool, a
fifth of which each seed holds out to choose on, the same rows for all networks. Official validation
rows are not used, and test rows are never cut.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

import helicon
from helicon.alphabet import DNA
from helicon.data.catalogue.catalogue import find
from helicon.data.tables.tables import SequenceTable, read_table
from helicon.files import sha256
from helicon.metrics.measures import Summary, summarise
from helicon.metrics.targets import find_target
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, save
from helicon.models.registry import configured
from helicon.objectives.self_distillation import Over
from helicon.training.kinds.splits import hold_out
from helicon.training.run.folder import read_metrics

Objective = Literal["masked-lm", "self-distillation"]

GENOMES = {
    "yeast-r64": "yeast-r64/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz",
    "ecoli-k12": "ecoli-k12/GCF_000005845.2_ASM584v2_genomic.fna.gz",
}
#: Bases of a window and windows of a batch in pretraining, share of hidden bases, blank tokens.
LENGTH, BATCH, MASK_RATE, CLS_TOKENS = 118, 136, 0.3, 10
#: Positions of ChordMixer's circle. The labelled sequences of `USUAL`, 70 and 101 bases, fit on it.
CIRCLE = LENGTH + CLS_TOKENS
#: Share that the teacher keeps of its weights in the first step, and the centre in all. The paper's
#: 0.996 is for tens of thousands of steps: after a few hundred the teacher would still be mostly
#: the network untrained.
MOMENTUM = 0.98
#: Validation would cost a slow network more of its minutes: there is one, of the last weights.
_AT_THE_END = 10**9
#: Share of the labelled rows that a seed holds out to choose on.
HELD_OUT = 0.2


# ---------------------------------------------------------------- networks


@dataclass(frozen=True)
class Network:
    """A named size, and the fields that differ."""

    model: str
    backbone: dict[str, int | str | bool]

    def build(self) -> HeliconForMaskedLM:
        """The network with new weights."""
        return HeliconForMaskedLM(HeliconConfig.of(configured(self.model, **self.backbone)))

    def untrained(self, out: Path, seed: int) -> Path:
        """A model folder with new weights."""
        if not out.exists():
            torch.manual_seed(seed)
            save(self.build(), out)
        return out


#: About as many values each. ChordMixer has one layer of the seven blocks and eight groups that the
#: paper's rule gives its circle, which all of its runs and the untrained networks share.
_CHORDMIXER: dict[str, int | str | bool] = {
    "layers": 1,
    "blocks": 7,
    "groups": 8,
    "group": 10,
    "circle": CIRCLE,
}
NETWORKS: dict[str, dict[str, Network]] = {
    "115k": {
        "ChordMixer": Network("findna-tiny", {**_CHORDMIXER, "hidden": 100}),
        "Transformer": Network("transformer-tiny", {"d_model": 68, "heads": 2, "blocks": 2}),
        "ConvNova": Network("convnova-tiny", {}),
    },
    "230k": {
        "ChordMixer": Network("findna-tiny", {**_CHORDMIXER, "hidden": 200}),
        "Transformer": Network("transformer-tiny", {"d_model": 96, "heads": 3, "blocks": 2}),
        "ConvNova": Network("convnova-tiny", {"d_model": 46}),
    },
}


#: Network and objective of each family.
FAMILIES: dict[str, tuple[str, Objective]] = {
    "FinDNA": ("ChordMixer", "self-distillation"),
    "CM-MNM": ("ChordMixer", "masked-lm"),
    "FinDNA-T": ("Transformer", "self-distillation"),
    "ConvNova": ("ConvNova", "masked-lm"),
}
#: Three convolutions behind ConvNova's stem, without gates or a second branch.
CNN = Network("convnova-tiny", {"d_model": 48, "blocks": 3, "gate": "none", "feed_forward": False})
#: How the tables call it.
CNN_NAME, KMERS = "small CNN", "5-mers"


def untrained(network: str) -> str:
    """The arm of a network's probe before any training."""
    return f"untrained {network}"


def scratch(network: str) -> str:
    """The arm of a network that is trained from random weights on the labels alone."""
    return network if network == CNN_NAME else f"{network} from scratch"


def pretrained(
    network: Network,
    out: Path,
    *,
    genome: str,
    objective: Objective,
    lr: float,
    seed: int,
    steps: int,
    views: str | None = None,
    cls_softmax: Over | None = None,
    alpha: float | None = None,
) -> dict[str, Any]:
    """Pretrain a network, or read what a finished run says.

    The last weights are the model: nothing is chosen on the way.

    Returns:
        What the run was and reached, for the results.
    """
    distilled = objective == "self-distillation"
    momentum = MOMENTUM if distilled else None
    done = helicon.pretrain(
        find(GENOMES[genome]),
        out=out,
        model=network.model,
        backbone=dict(network.backbone),
        objective=objective,
        steps=steps,
        length=LENGTH,
        batch_size=BATCH,
        lr=lr,
        mask_rate=MASK_RATE,
        replacement=None if distilled else "80-10-10",
        views=views,
        cls_softmax=cls_softmax,
        alpha=alpha,
        cls_tokens=CLS_TOKENS if distilled else None,
        teacher_momentum=momentum,
        center_momentum=momentum,
        validation_windows=256,
        test_windows=512,
        eval_every=_AT_THE_END,
        seed=seed,
        accelerator="cpu",
        resume=True,
    )
    forward = helicon.info(done.model, length=LENGTH).flops_per_letter
    passes = 4 * (1 + CLS_TOKENS / LENGTH) if distilled else 3.0
    rows = [row for row in read_metrics(out / "metrics.jsonl") if row["kind"] == "train"]
    kept = ("steps", "seconds", "parameters", "letters", "validation", "test")
    return {name: getattr(done, name) for name in kept} | {
        "objective": objective,
        "seed": seed,
        "lr": lr,
        "flops": forward * passes * done.letters,
        "student_test": done.student.test if done.student else None,
        "last": rows[-1],
        "genome_sha256": done.provenance["data"]["genome"],
    }


# ---------------------------------------------------------------- labelled sets


@dataclass(frozen=True)
class LabelledSet:
    """A set of labelled sequences, in a folder of the catalogue.

    Attributes:
        folder: where it lies.
        official: whether its training rows are there; else its `dev` rows serve.
    """

    folder: str
    official: bool = True

    def read(self, part: str) -> pl.DataFrame:
        """Rows of a part, as they stand in the file."""
        return pl.read_csv(find(f"{self.folder}/{part}.csv.gz"))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of its files."""
        parts = ("train", "dev", "test") if self.official else ("dev", "test")
        return {part: sha256(find(f"{self.folder}/{part}.csv.gz")) for part in parts}


_MARKS = ["H3", "H4", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3"]
_MARKS += ["H3K9ac", "H4ac"]
SETS: dict[str, LabelledSet] = {
    **{f"mouse-{n}": LabelledSet(f"gue-mouse/{n}") for n in (0, 2, 3)},
    **{
        name.replace("_", "-"): LabelledSet(f"gue-promoter/prom_{name}")
        for name in ("core_tata", "core_notata", "core_all", "300_tata")
    },
    **{mark: LabelledSet(f"gue-emp-devtest/{mark}", official=False) for mark in _MARKS},
}
#: What is measured if nothing is said.
USUAL = ("mouse-0", "core-tata", "mouse-2", "mouse-3", "core-notata", "core-all")


@dataclass(frozen=True)
class Files:
    """The tables that a labelled set was cut into."""

    folder: Path

    @property
    def pool(self) -> Path:
        """Rows to train and to choose on."""
        return self.folder / "pool.csv"

    @property
    def test(self) -> Path:
        """Rows to measure on."""
        return self.folder / "test.csv"

    def part(self, part: str, seed: int) -> Path:
        """Rows of the pool that a seed trains on (`train`), or chooses on (`valid`)."""
        return self.folder / f"{part}-{seed}.csv"


def cut(name: str, rows: int, seeds: int, work: Path) -> Files:
    """Cut a labelled set; the same arguments give the same tables.

    Args:
        name: of the set.
        rows: of the pool, at most.
        seeds: that divide the pool.
        work: folder for all sets.
    """
    given, files = SETS[name], Files(work / f"{name}-{rows}")
    if files.part("valid", seeds - 1).exists():
        return files
    files.folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([zlib.crc32(name.encode()), rows])
    pool = given.read("train" if given.official else "dev")
    pool = pool[np.sort(rng.permutation(len(pool))[:rows])]
    pool.write_csv(files.pool)
    given.read("test").write_csv(files.test)
    table = labelled(files.pool)
    target = find_target(table)
    for seed in range(seeds):
        # As `helicon probe` holds out rows.
        parts = hold_out(table, target.encode(table), target, HELD_OUT, seed)
        for part, chosen in zip(("train", "valid"), parts, strict=True):
            pool[chosen].write_csv(files.part(part, seed))
    return files


def about(name: str, files: Files) -> dict[str, Any]:
    """What a set is, for the results."""
    tables = {"train": files.part("train", 0), "valid": files.part("valid", 0), "test": files.test}
    found: dict[str, Any] = {part: len(labelled(path)) for part, path in tables.items()}
    found["letters"] = int(np.median(labelled(files.test).lengths))
    return found | {"folder": SETS[name].folder, "sha256": SETS[name].hashes()}


def letters(files: Files) -> float:
    """Bytes of the tables that a probe reads: its time goes with them."""
    return float(sum(path.stat().st_size for path in (files.pool, files.test)))


def labelled(path: Path) -> SequenceTable:
    """The table of a file."""
    return read_table(path, target="label", alphabet=DNA)


# ---------------------------------------------------------------- arguments


def shared_arguments(name: str) -> argparse.ArgumentParser:
    """A parser of what both scripts are told, to be a parent of theirs.

    Args:
        name: of the files of results.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(USUAL), help="to probe")
    parser.add_argument("--size", choices=NETWORKS, default="115k", help="values of a network")
    parser.add_argument("--genome", choices=GENOMES, default="yeast-r64")
    parser.add_argument("--pretrain-seeds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2500, help="labelled rows of a set at most")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir(), "findna-tasks"))
    parser.add_argument(
        "--quick", action="store_true", help="two sets, two seeds, few steps: a rehearsal"
    )
    parser.add_argument("--name", default=name, help="of the files in results/")
    return parser


def told(given: argparse.Namespace, quick: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The fields of a plan that were given, and the name of the files of results.

    Args:
        given: what a parser read.
        quick: fields that a rehearsal has otherwise.
    """
    values = {key: value for key, value in vars(given).items() if key not in ("quick", "name")}
    values |= {"work": values.pop("runs")} | (quick if given.quick else {})
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return values | lists, given.name + "-quick" * given.quick


# ---------------------------------------------------------------- words


def without_paths(conditions: dict[str, Any], runs: Path) -> dict[str, Any]:
    """Conditions whose command does not say where on this machine things lie."""
    script = sys.argv[0]
    command = conditions["command"].replace(script, f"benchmarks/{Path(script).name}")
    return conditions | {"command": command.replace(f"--runs {runs}", "--runs RUNS")}


def spread(values: list[float], digits: int = 3) -> str:
    """Mean, standard deviation and interval, as the tables have them."""
    found = summarise(values)
    if found.n < 2:
        return f"{found.mean:.{digits}f}"
    low, high = (f"{value:.{digits}f}" for value in (found.low, found.high))
    return f"{found.mean:.{digits}f} ± {found.sd:.{digits}f} ({low} to {high})"


def as_summary(values: list[float]) -> dict[str, float]:
    """Mean, spread and interval, for the file of results."""
    found: Summary = summarise(values)
    return asdict(found)


def said_sets(sets: dict[str, dict[str, Any]]) -> str:
    """Rows of the labelled sets, and what to know about them."""
    listed = "; ".join(
        f"{name} ({one['letters']} bp) {one['train']:,}, {one['valid']:,}, {one['test']:,}"
        for name, one in sets.items()
    )
    said = f"Rows to train on, to choose on, to test on: {listed}."
    if any(not SETS[name].official for name in sets):
        said += (
            " Histone marks, of yeast, have no training file here: they are trained on the official"
            " validation rows, and 15 to 20 % of their test windows share a 50-mer with those."
        )
    return said


def best(tried: dict[str, float]) -> str:
    """The rate with the highest measure."""
    return max(tried, key=lambda rate: tried[rate])
