"""FinDNA beside what it must beat, at equal compute: pretraining, linear probes, fine-tuning.

    HELICON_DATA=FOLDER python benchmarks/findna_tasks.py [--minutes 4] [--sets ...] [--quick]

Four families are pretrained on a genome, each for the steps that the same minutes hold at its
speed; the speeds are measured side by side, so that a machine that slows down treats all alike:

- FinDNA: ChordMixer by self-distillation (the teacher is measured);
- CM-MNM: the same network by masked-lm;
- FinDNA-T: a Transformer by self-distillation;
- ConvNova: by masked-lm.

The networks have about as many values, and windows, batches, the share of hidden bases and what
becomes of them are the same. The learning rate of each network is the best of `PRETRAIN_RATES` by
masked-lm on validation windows, tried for a tenth of the steps; both objectives take it.
Self-distillation is run in each of `WAYS`: what its softmax runs over, and the share of the hidden
letters in its loss (the paper's way comes first). The way whose probes of the first pretraining are
best on held-out rows goes on, with more seeds.

On each labelled set there are linear probes (features averaged over positions, a logistic
regression whose penalty is chosen on held-out rows) of the pretrained networks, of the same ones
untrained, and the k-mer regression that fine-tuning notes; and fine-tuned, the first pretraining of
each family, the same networks from random weights, and a small CNN. A seed holds out rows (the same
ones for all), and draws new weights and the order. The learning rate of fine-tuning of each is the
best of `RATES` by mean MCC on the held-out rows of the first two sets, with seed 0. Test rows are
looked at once a run.

What is done is kept in the folder of `--runs`: a stopped command goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import conditions, write
from findna_common import (
    BATCH,
    CNN,
    CNN_NAME,
    FAMILIES,
    KMERS,
    LENGTH,
    NETWORKS,
    SETS,
    USUAL,
    Files,
    Network,
    about,
    best,
    cut,
    pretrained,
    scratch,
    shared_arguments,
    told,
    untrained,
    without_paths,
)
from findna_jobs import Counted, Finetuned, Measured, Probed, all_done, joined
from findna_report import comparisons, draw, report

from helicon.objectives.self_distillation import Over
from helicon.training.run.folder import read_metrics

SEED = 0
PRETRAIN_RATES = (1e-3, 4e-3)
#: Share of the steps for which each rate of pretraining is tried.
TRIAL = 0.1
#: Ways of self-distillation, by name: the softmax at the blank tokens, and alpha.
WAYS: dict[str, tuple[Over, float]] = {
    "tokens 0.5": ("tokens", 0.5),
    "tokens 0.98": ("tokens", 0.98),
    "tokens 0.998": ("tokens", 0.998),
    "channels 0.998": ("channels", 0.998),
}
#: Rounds in which the speeds are measured, and steps of each.
PACE_ROUNDS, PACE_STEPS = 3, 16
RATES = (5e-4, 2e-3, 8e-3)


@dataclass(frozen=True)
class Plan:
    """What is done, and where.

    Attributes:
        families: names of `FAMILIES`.
        sets: names of `SETS`, for the probes.
        tuned: likewise, for fine-tuning.
        size: a key of `NETWORKS`.
        genome: a key of `GENOMES`.
        minutes: that each pretraining is to take.
        pretrain_seeds: pretrainings of each family.
        seeds: divisions of the rows, and runs of fine-tuning of each pretrained network.
        rows: labelled rows of a set that are trained or chosen on, at most.
        steps: of fine-tuning.
        batch: sequences of a step of fine-tuning.
        cores: runs at the same time, and threads of pretraining.
        work: the folder of runs.
        ways: of self-distillation, the one that was chosen for each family.
    """

    families: tuple[str, ...]
    sets: tuple[str, ...]
    tuned: tuple[str, ...]
    size: str
    genome: str
    minutes: float
    pretrain_seeds: int
    seeds: int
    rows: int
    steps: int
    batch: int
    cores: int
    work: Path
    ways: dict[str, str] = field(default_factory=dict)

    @property
    def networks(self) -> dict[str, Network]:
        """The networks of the families."""
        used = {FAMILIES[family][0] for family in self.families}
        return {name: one for name, one in NETWORKS[self.size].items() if name in used}

    @property
    def draws(self) -> range:
        """Seeds of all that is measured."""
        return range(SEED, SEED + self.seeds)

    def untrained(self, name: str, seed: int) -> Path:
        """The model folder of a network, or of the CNN, with new weights."""
        network = CNN if name == CNN_NAME else self.networks[name]
        out = self.work / "untrained" / f"{name}-{self.size}-{seed}".replace(" ", "-")
        return network.untrained(out, seed)

    def pretrained(self, family: str, seed: int, way: str | None = None) -> Path:
        """The run folder of a family; of self-distillation in a way, or in the chosen one."""
        way = way or self.ways.get(family, "")
        run = f"{family}-{self.size}-{self.genome}-{self.minutes:g}min-{seed}-{way}"
        return self.work / "pretrained" / run.replace(" ", "-").rstrip("-")

    def runs(self, family: str) -> list[Path]:
        """The run folders of a family."""
        return [self.pretrained(family, s) for s in range(SEED, SEED + self.pretrain_seeds)]

    def files(self, name: str) -> Files:
        """The tables of a set."""
        return cut(name, self.rows, self.seeds, self.work / "sets")


# ---------------------------------------------------------------- pretraining


def pace(plan: Plan) -> dict[str, float]:
    """Seconds of a step of each family: the least of rounds in which all have their turn."""
    found: dict[str, list[float]] = {family: [] for family in plan.families}
    for turn in range(PACE_ROUNDS):
        for family, times in found.items():
            name, objective = FAMILIES[family]
            run = plan.work / "pretrained" / f"pace-{family}-{plan.size}-{plan.genome}-{turn}"
            pretrained(
                plan.networks[name],
                run,
                genome=plan.genome,
                objective=objective,
                lr=PRETRAIN_RATES[0],
                seed=SEED,
                steps=PACE_STEPS,
            )
            rows = [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "train"]
            times.append(BATCH * LENGTH / statistics.median(r["bases_per_second"] for r in rows))
    return {family: min(times) for family, times in found.items()}


def try_rates(plan: Plan, name: str, steps: int) -> dict[str, float]:
    """Validation loss of a network by masked-lm at each rate, after so many steps."""
    found: dict[str, float] = {}
    for rate in PRETRAIN_RATES:
        run = f"trial-{name}-{plan.size}-{plan.genome}-{steps}-{rate:g}"
        done = pretrained(
            plan.networks[name],
            plan.work / "pretrained" / run,
            genome=plan.genome,
            objective="masked-lm",
            lr=rate,
            seed=SEED,
            steps=steps,
        )
        found[f"{rate:g}"] = done["validation"]["loss"]
    return found


@dataclass(frozen=True)
class Pretraining:
    """What all pretrainings share: the steps of each family, and the rate of each network."""

    plan: Plan
    steps: dict[str, int]
    trials: dict[str, dict[str, float]]

    @classmethod
    def prepare(cls, plan: Plan) -> Pretraining:
        """Measure the speeds and choose the rates."""
        steps = {name: round(60 * plan.minutes / each) for name, each in pace(plan).items()}
        trials = {
            network: try_rates(plan, network, max(1, round(TRIAL * steps[family])))
            for family in reversed(plan.families)  # the first family of a network has its say
            for network in [FAMILIES[family][0]]
        }
        return cls(plan, steps, trials)

    def run(self, family: str, seed: int, way: str | None) -> dict[str, Any]:
        """Pretrain; what the run was and reached."""
        name, objective = FAMILIES[family]
        over, alpha = WAYS[way] if way else (None, None)
        tried = self.trials[name]
        return pretrained(
            self.plan.networks[name],
            self.plan.pretrained(family, seed, way),
            genome=self.plan.genome,
            objective=objective,
            lr=float(min(tried, key=lambda rate: tried[rate])),
            seed=seed,
            steps=self.steps[family],
            cls_softmax=over,
            alpha=alpha,
        )


def try_ways(plan: Plan, prepared: Pretraining) -> dict[str, dict[str, Any]]:
    """What self-distillation in each way was and reached."""
    tried: dict[str, dict[str, Any]] = {}
    jobs: dict[tuple[str, str], list[Probed]] = {}
    for family in plan.families:
        if FAMILIES[family][1] == "self-distillation":
            tried[family] = {way: {"run": prepared.run(family, SEED, way)} for way in WAYS}
            for way in WAYS:
                run = plan.pretrained(family, SEED, way)
                jobs[family, way] = [probe_of(plan, name, run, True) for name in plan.sets]
    all_done([job for group in jobs.values() for job in group], plan.cores)
    for (family, way), group in jobs.items():
        found = tried[family][way]
        for part in ("validation", "test"):
            each = [job.measured(part)["teacher, mean"]["mcc"] for job in group]
            found[part] = np.mean(each, axis=0).tolist()
    return tried


def pretrain_all(plan: Plan) -> tuple[Plan, dict[str, Any]]:
    """Pretrain the families; the plan with the ways chosen, and what each run was and reached."""
    torch.set_num_threads(plan.cores)
    prepared = Pretraining.prepare(plan)
    tried = try_ways(plan, prepared)
    torch.set_num_threads(plan.cores)
    ways = {
        family: max(found, key=lambda way: np.mean(found[way]["validation"]))
        for family, found in tried.items()
    }
    seeds = range(SEED, SEED + plan.pretrain_seeds)
    runs = {
        family: [prepared.run(family, seed, ways.get(family)) for seed in seeds]
        for family in plan.families
    }
    found = {"trials": prepared.trials, "ways": tried, "chosen": ways, "runs": runs}
    return replace(plan, ways=ways), found


# ---------------------------------------------------------------- probes


def probe_of(plan: Plan, name: str, run: Path, both: bool) -> Probed:
    """The probe of a pretrained network on a set."""
    out = plan.work / "probes" / f"{name}-{plan.rows}" / f"{run.name}-{plan.seeds}"
    return Probed(run, plan.files(name), plan.draws, out, both)


def probes(plan: Plan) -> dict[str, dict[str, list[Probed]]]:
    """Probes by set and arm: of pretrained networks, and of an untrained one for each seed."""
    found: dict[str, dict[str, list[Probed]]] = {}
    for name in plan.sets:
        files, work = plan.files(name), plan.work / "probes" / f"{name}-{plan.rows}"
        arms = found[name] = {}
        for family in plan.families:
            both = FAMILIES[family][1] == "self-distillation"
            arms[family] = [probe_of(plan, name, run, both) for run in plan.runs(family)]
        for network in plan.networks:
            models = {seed: plan.untrained(network, seed) for seed in plan.draws}
            arms[untrained(network)] = [
                Probed(model, files, range(seed, seed + 1), work / f"untrained-{model.name}")
                for seed, model in models.items()
            ]
    return found


def counts(plan: Plan) -> dict[str, Counted]:
    """The k-mer regression of every set."""
    name_of = f"kmers-{plan.seeds}.json"
    return {
        name: Counted(
            plan.files(name), plan.draws, plan.work / "probes" / f"{name}-{plan.rows}" / name_of
        )
        for name in plan.sets
    }


# ---------------------------------------------------------------- fine-tuning


def arms_of(plan: Plan) -> dict[str, tuple[list[Path], bool]]:
    """Models that are fine-tuned, by arm, and whether from scratch."""
    arms = {family: (plan.runs(family)[:1], False) for family in plan.families}
    fresh = {name: ([plan.untrained(name, SEED)], True) for name in [*plan.networks, CNN_NAME]}
    return arms | {scratch(name): found for name, found in fresh.items()}


def finetuning(plan: Plan, name: str, arm: str, seed: int, rate: float) -> list[Finetuned]:
    """Runs of an arm on a set with a seed, one for each of its models."""
    models, fresh = arms_of(plan)[arm]
    work = plan.work / "finetune" / f"{name}-{plan.rows}-{plan.steps}x{plan.batch}"
    return [
        Finetuned(
            model,
            plan.files(name),
            seed,
            rate,
            plan.steps,
            plan.batch,
            fresh,
            work / f"{model.name}{'-scratch' * fresh}-{rate:g}-{seed}",
        )
        for model in models
    ]


def choose_rates(plan: Plan) -> dict[str, dict[str, float]]:
    """Mean validation MCC of each arm at each rate."""
    runs = {
        (arm, rate): [
            run for name in plan.tuned[:2] for run in finetuning(plan, name, arm, SEED, rate)[:1]
        ]
        for arm in arms_of(plan)
        for rate in RATES
    }
    all_done([run for group in runs.values() for run in group], plan.cores)
    found: dict[str, dict[str, float]] = {arm: {} for arm in arms_of(plan)}
    for (arm, rate), group in runs.items():
        values = joined(run.measured("validation") for run in group)["mcc"]
        found[arm][f"{rate:g}"] = float(np.mean(values))
    return found


# ---------------------------------------------------------------- all of it


def measure(plan: Plan) -> dict[str, Any]:
    """Everything, in order; what is there is not done again."""
    plan, pretraining = pretrain_all(plan)
    probed, counted = probes(plan), counts(plan)
    listed: list[Any] = [job for arms in probed.values() for jobs in arms.values() for job in jobs]
    all_done([*listed, *counted.values()], plan.cores)
    trials = choose_rates(plan)
    tuned = {
        name: {
            arm: by_model(
                finetuning(plan, name, arm, seed, float(best(tried))) for seed in plan.draws
            )
            for arm, tried in trials.items()
        }
        for name in plan.tuned
    }
    all_done([run for arms in tuned.values() for runs in arms.values() for run in runs], plan.cores)
    return {
        "pretraining": pretraining,
        "finetuning_trials": trials,
        "sets": {
            name: about(name, plan.files(name)) for name in dict.fromkeys([*plan.sets, *tuned])
        },
        "probe": {
            name: {arm: joined(job.own for job in jobs) for arm, jobs in arms.items()}
            | {KMERS: counted[name].measured()}
            for name, arms in probed.items()
        },
        "pooling": {
            name: {
                f"{arm}: {which}": values
                for arm, jobs in arms.items()
                if jobs[0].both
                for which, values in together(jobs).items()
            }
            for name, arms in probed.items()
        },
        "finetuned": {
            name: {arm: joined(run.measured("test") for run in runs) for arm, runs in arms.items()}
            for name, arms in tuned.items()
        },
    }


def by_model(seeds: Iterable[list[Finetuned]]) -> list[Finetuned]:
    """Runs of all seeds of the first model, then of the second."""
    return [run for runs in zip(*seeds, strict=True) for run in runs]


def together(jobs: list[Probed]) -> dict[str, Measured]:
    """Measures of several pretrainings, by network and pooling."""
    found = [job.measured() for job in jobs]
    return {which: joined(one[which] for one in found) for which in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], parents=[shared_arguments("findna-tasks")]
    )
    parser.add_argument("--minutes", type=float, default=4, help="of each pretraining")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument(
        "--tuned", nargs="+", choices=SETS, default=list(USUAL), help="to fine-tune on"
    )
    parser.add_argument("--steps", type=int, default=100, help="of fine-tuning")
    parser.add_argument("--batch", type=int, default=32, help="sequences of a step of fine-tuning")
    quick: dict[str, Any] = {"sets": USUAL[:2], "tuned": USUAL[:2]}
    quick |= {"minutes": 0.05, "seeds": 2, "rows": 200, "steps": 8}
    values, name = told(parser.parse_args(), quick)
    plan = Plan(**values)
    result: dict[str, Any] = {
        "setting": {key: value for key, value in values.items() if key != "work"}
        | {"rates": RATES},
        **measure(plan),
    }
    torch.set_num_threads(plan.cores)
    result |= {
        "conditions": without_paths(conditions(SEED, torch.device("cpu")), plan.work),
        "comparisons": comparisons(result),
        "figure": f"{name}.svg",
    }
    draw(result, name)
    write(name, result, report(result))


if __name__ == "__main__":
    main()
