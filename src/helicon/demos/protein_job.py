"""The protein job: pretrain on a proteome, predict a property of genes from proteins, report.

The property is the codon adaptation index, which rises with how much of its protein a gene makes.
It is written in the choice among synonymous codons, of which a protein shows nothing: a model has
to tell from what the protein is. Every step is a public verb called as a user would call it, and
its command is shown in the report. Pretraining and the task hold out the same clusters of proteins.
The two arms of the comparison differ in one thing, the weights they start from; a linear probe of
the pretrained model stands beside them. The model that is best on validation genes is kept.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from helicon.alphabet import PROTEIN
from helicon.data.tables.tables import read_table
from helicon.demos.proteome import TARGET, Proteome, write_proteome
from helicon.demos.steps import Step, curve, measured_pretraining, seed_of, shown
from helicon.metrics.targets import find_target
from helicon.report.pages.protein_demo import protein_demo_report
from helicon.report.results.protein_demo import Predictions, ProteinArm, ProteinDemoResults
from helicon.training.adaptation.linear import fit_probe
from helicon.training.finetune.result import FinetuneResult
from helicon.training.kinds.splits import divide
from helicon.training.pretrain.result import PretrainResult
from helicon.training.run.folder import read_metrics
from helicon.training.yardsticks.kmers import kmer_frequencies

#: Shares of the residues to choose by and to measure on.
VALIDATION, TEST = 0.06, 0.12
#: CARP-600k in three quarters of its width and half of its depth: in minutes it gets further.
PRETRAINING: dict[str, Any] = {
    "model": "carp-600k",
    "backbone": {"d_model": 96, "blocks": 8},
    "validation_fraction": VALIDATION,
    "test_fraction": TEST,
    "max_tokens": 4096,
    "lr": 4e-3,
}
#: Proteins of a batch of fine-tuning.
BATCH = 8
FINETUNING = {"pool": "mean", "batch_size": BATCH, "lr": 2e-3, "weight_decay": 0.01, "dropout": 0.0}
#: Steps of a fine-tuning run: no more than these, and no fewer however slow the machine.
MOST_STEPS, FEWEST_STEPS = 500, 20
#: Share of the time that pretraining takes; the rest is for fine-tuning, twice for each seed.
PRETRAINING_SHARE = 0.5
#: Seconds of a fine-tuning run that are spent on measuring: as a share of those of training.
MEASURING = 0.4
#: Lengths of the k-mers whose frequencies the baselines see.
BASELINES = {1: "amino-acid composition", 2: "dipeptide composition"}


@dataclass(frozen=True)
class ProteinDemoResult:
    """What the protein job leaves.

    Attributes:
        out: the folder of everything.
        report: the page to open.
        model: folder of the adapted model that is best on validation genes.
        results: all that was measured.
    """

    out: Path
    report: Path
    model: Path
    results: ProteinDemoResults

    @property
    def summary(self) -> str:
        """One table of the comparison and the language model, and what to do next."""
        found = self.results
        head = f"{'codon adaptation, test genes':<32}"
        rows = [head + "".join(f"{name:>20}" for name in ("Spearman", "Pearson"))]
        for arm in (*found.arms, *found.baselines):
            measured = (found.measure(arm, name).text() for name in ("spearman", "pearson"))
            rows.append(f"{arm.name:<32}" + "".join(f"{value:>20}" for value in measured))
        rows.append(f"{'gain in Spearman, by seed':<32}{found.gain.text():>20}")
        rows += ["", f"{'masked residues, test clusters':<32}{'accuracy':>20}{'perplexity':>20}"]
        for score in (found.pretraining.score, *found.pretraining.baselines):
            rows.append(f"{score.name:<32}{score.accuracy:>20.4f}{score.perplexity:>20.4f}")
        rows += ["", f"report: {self.report}", f"model:  {self.model}", "next:"]
        return "\n".join([*rows, *(f"  {line}" for line in _next(self.model, self.out))])

    def as_dict(self) -> dict[str, Any]:
        """The main figures, for JSON."""
        found = self.results
        return {
            "report": str(self.report),
            "model": str(self.model),
            "spearman": {
                arm.name: list(found.measure(arm).values) for arm in (*found.arms, *found.baselines)
            },
            "gain": found.gain.mean,
            "masked_accuracy": found.pretraining.score.accuracy,
            "masked_perplexity": found.pretraining.score.perplexity,
            "baselines": {b.name: b.perplexity for b in found.pretraining.baselines},
            "seconds": found.provenance["seconds"],
        }


def run(out: Path, *, minutes: float, seeds: int, seed: int) -> ProteinDemoResult:
    """Run the protein job; `helicon.demos.demo.demo` documents it."""
    began = time.monotonic()
    proteome = write_proteome(out, validation=VALIDATION, test=TEST)
    options = {
        **PRETRAINING,
        "clusters": proteome.clusters,
        "minutes": round(minutes * PRETRAINING_SHARE, 3),
        "seed": seed,
        "out": out / "pretrained",
    }
    first = Step("pretrain", proteome.fasta, options)
    pretrained = first.run()
    each = minutes * 60 * (1 - PRETRAINING_SHARE) / (2 * seeds)
    adapting = _adapting(out, proteome, finetuning_steps(pretrained, each), seeds, seed)
    arms = {name: step.run() for name, step in adapting.items()}
    results = _results(pretrained, arms, proteome, (first, *adapting.values()), out)
    seconds = time.monotonic() - began
    results = replace(results, provenance={**results.provenance, "seconds": seconds})
    results.write(out / "results.json")
    report = protein_demo_report(results, out / "report.html")
    return ProteinDemoResult(out, report, arms[results.kept].model, results)


def _adapting(out: Path, genes: Proteome, steps: int, seeds: int, seed: int) -> dict[str, Step]:
    """The ways to adapt a network to the genes, by name."""
    task = {"data": genes.genes, "target": TARGET}
    length = {"steps": steps, "eval_every": -(-steps // 3), "seed": seed, "seeds": seeds}
    tuned = {**task, **FINETUNING, **length, "out": out / "finetuned"}
    options = {
        "pretrained": tuned,
        "from scratch": tuned | {"scratch": True, "out": out / "from-scratch"},
        "pretrained, linear probe": {**task, "freeze": True, "out": out / "probed"},
    }
    source = out / "pretrained"
    return {name: Step("finetune", source, given) for name, given in options.items()}


def finetuning_steps(pretrained: PretrainResult, seconds: float) -> int:
    """Steps of a fine-tuning run that take about so many seconds, from the speed of pretraining.

    Args:
        pretrained: what pretraining measured.
        seconds: for one run, its validation and test included.
    """
    assert pretrained.proteins is not None
    length = pretrained.split["train"] / pretrained.proteins.sequences["train"]
    steps = seconds / (1 + MEASURING) * pretrained.letters_per_second / (BATCH * length)
    return int(min(MOST_STEPS, max(FEWEST_STEPS, steps)))


def composition_baselines(genes: Path) -> tuple[ProteinArm, ...]:
    """Ridge regressions on how often each k-mer is in a protein, as the arms are measured.

    They see the same training genes, and validation genes choose their penalty.

    Args:
        genes: the table of genes.
    """
    table = read_table(genes, target=TARGET, alphabet=PROTEIN, divided=True)
    train, valid, test, _ = divide(table, None, None)
    assert valid is not None
    assert test is not None
    target = find_target(train)
    found = []
    for k, name in BASELINES.items():
        known, chosen_by = (
            (kmer_frequencies(part, k, PROTEIN), target.encode(part)) for part in (train, valid)
        )
        probe = fit_probe(known, chosen_by, target, monitor="spearman")
        values = target.natural(probe.outputs(kmer_frequencies(test, k, PROTEIN)))[:, 0]
        found.append(ProteinArm(name, (Predictions(None, tuple(values.tolist())),)))
    return tuple(found)


def _results(
    pretrained: PretrainResult,
    arms: dict[str, FinetuneResult],
    proteome: Proteome,
    steps: Sequence[Step],
    out: Path,
) -> ProteinDemoResults:
    """Put together what the runs have measured."""
    best = max(arms, key=lambda name: arms[name].chosen_by)
    seeds = arms["pretrained"].runs or (arms["pretrained"],)
    sizes = ", ".join(f"{key} {value}" for key, value in PRETRAINING["backbone"].items())
    return ProteinDemoResults(
        genome="Escherichia coli 536 (NC_008253.1)",
        split=proteome.parts,
        clusters_by=proteome.clusters_by,
        reference_genes=proteome.reference_genes,
        model=f"{PRETRAINING['model']}, {sizes}",
        parameters=pretrained.parameters,
        receptive_field=pretrained.receptive_field,
        finetune_steps=seeds[0].steps,
        pretraining=measured_pretraining(pretrained, "CARP", (0, 2)),
        truth=tuple(_predictions(seeds[0])["label/" + TARGET].to_list()),
        arms=tuple(ProteinArm(name, _runs(result)) for name, result in arms.items()),
        baselines=composition_baselines(proteome.genes),
        kept=best,
        model_folder=str(shown(arms[best].model, out)),
        commands=tuple(step.command(out) for step in steps),
        next_commands=_next(shown(arms[best].model, out), shown(out, out)),
        provenance=pretrained.provenance,
    )


def _next(model: Path, out: Path) -> tuple[str, ...]:
    """What to try next, with the folders of the kept model and of the job."""
    table = "your-table.csv --target your-label --out runs/mine"
    kept, pretrained = (shlex.quote(str(path)) for path in (model, out / "pretrained"))
    return (
        f"helicon predict {kept} your-proteins.fasta --out adapted.parquet",
        f"helicon finetune {pretrained} {table}",
    )


def _runs(result: FinetuneResult) -> tuple[Predictions, ...]:
    """The runs of one arm, with what each predicts for the test genes."""
    found = []
    for run in result.runs or (result,):
        values = _predictions(run)["prediction/" + TARGET].to_list()
        rows = read_metrics(run.run / "metrics.jsonl")
        found.append(
            Predictions(seed_of(run), tuple(values), curve(rows, "validation", "spearman"))
        )
    return tuple(found)


def _predictions(run: FinetuneResult) -> pl.DataFrame:
    return pl.read_parquet(run.run / "predictions" / "test.parquet")
