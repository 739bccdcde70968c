"""The pairs of views of FinDNA's Table 4: how far apart they are, and what a probe makes of each.

    HELICON_DATA=FOLDER python benchmarks/findna_views.py [--softmax letters] [--alpha A]

One ChordMixer is pretrained by self-distillation with each pair of views, all else equal: weights
to begin with, windows, steps, rates. Linear probes of the teachers are measured as in
`findna_tasks.py`, whose labelled sets, draws and folders these are. The dissimilarity of two views
(equation 10: the mean divergence of their positions' softmax, in nats) is measured on windows of
the genome, as they are in training.

What is done is kept in the folder of `--runs`: a stopped command goes on where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from common import RESULTS, conditions, said, table, write
from findna_common import (
    BATCH,
    GENOMES,
    LENGTH,
    MASK_RATE,
    NETWORKS,
    USUAL,
    Files,
    about,
    as_summary,
    cut,
    pretrained,
    said_sets,
    shared_arguments,
    spread,
    told,
    without_paths,
)
from findna_jobs import Measured, Probed, all_done, joined

from helicon.alphabet import SOFT_BIT
from helicon.data.catalogue.catalogue import find
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import split_blocks
from helicon.data.sampling.windows import WindowSampler, random_stream
from helicon.objectives.augmentations.augment import (
    RandomMasking,
    draw_numbers,
    parse_views,
    two_views,
    view_dissimilarity,
)
from helicon.objectives.self_distillation import Over
from helicon.report import dissimilarity

SEED = 0
#: Dissimilarity and mean accuracy (%) of linear probes on eight sets, of each pair (Table 4; the
#: last, which the text of the paper names as its own, is not in it).
PUBLISHED: dict[str, tuple[float, float] | None] = {
    "M+NoAug": (0.025, 76.59),
    "M+DIT": (0.149, 76.76),
    "MDT+DIT": (0.152, 78.26),
    "MDT+NR": (0.175, 78.31),
    "MDIT+NR": None,
}
#: Batches that the dissimilarity is measured on, and the purpose of their random numbers.
BATCHES, _VIEWS = 32, 99


@dataclass(frozen=True)
class Plan:
    """What is done, and where; `findna_tasks.Plan` says what most of it is.

    Attributes:
        pairs: of views.
        steps: of each pretraining.
        softmax: what the distributions at the blank tokens are over.
    """

    pairs: tuple[str, ...]
    sets: tuple[str, ...]
    size: str
    genome: str
    steps: int
    softmax: Over
    alpha: float
    rate: float
    pretrain_seeds: int
    seeds: int
    rows: int
    cores: int
    work: Path

    @property
    def draws(self) -> range:
        """Seeds of the probes."""
        return range(SEED, SEED + self.seeds)

    def pretrained(self, pair: str, seed: int) -> Path:
        """The run folder of a pair."""
        run = f"{pair}-{self.size}-{self.genome}-{self.steps}-{self.softmax}"
        run += f"-{self.alpha:g}-{self.rate:g}-{seed}"
        return self.work / "views" / run

    def runs(self, pair: str) -> list[Path]:
        """The run folders of a pair."""
        return [self.pretrained(pair, s) for s in range(SEED, SEED + self.pretrain_seeds)]

    def files(self, name: str) -> Files:
        """The tables of a set."""
        return cut(name, self.rows, self.seeds, self.work / "sets")


def pretrain_all(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Pretrain with each pair; what each run was and reached."""
    torch.set_num_threads(plan.cores)
    return {
        pair: [
            pretrained(
                NETWORKS[plan.size]["ChordMixer"],
                plan.pretrained(pair, seed),
                genome=plan.genome,
                objective="self-distillation",
                lr=plan.rate,
                seed=seed,
                steps=plan.steps,
                views=pair,
                cls_softmax=plan.softmax,
                alpha=plan.alpha,
            )
            for seed in range(SEED, SEED + plan.pretrain_seeds)
        ]
        for pair in plan.pairs
    }


def probe_all(plan: Plan) -> dict[str, dict[str, Measured]]:
    """Measures of the probes by set and pair, and of the network untrained."""
    network = NETWORKS[plan.size]["ChordMixer"]
    folder = plan.work / "untrained"
    fresh = {
        seed: network.untrained(folder / f"ChordMixer-{plan.size}-{seed}", seed)
        for seed in plan.draws
    }
    jobs: dict[str, dict[str, list[Probed]]] = {}
    for name in plan.sets:
        files, work = plan.files(name), plan.work / "probes" / f"{name}-{plan.rows}"
        jobs[name] = {
            pair: [
                Probed(run, files, plan.draws, work / f"{run.name}-{plan.seeds}")
                for run in plan.runs(pair)
            ]
            for pair in plan.pairs
        }
        jobs[name]["untrained"] = [
            Probed(model, files, range(seed, seed + 1), work / f"untrained-{model.name}")
            for seed, model in fresh.items()
        ]
    all_done([job for arms in jobs.values() for arm in arms.values() for job in arm], plan.cores)
    return {
        name: {arm: joined(job.own for job in found) for arm, found in arms.items()}
        for name, arms in jobs.items()
    }


def dissimilarities(plan: Plan) -> dict[str, list[float]]:
    """Of each pair, of batches of windows of the genome's training part."""
    genome = Genome.open(find(GENOMES[plan.genome]))
    intervals = split_blocks(genome, block=50_000)["train"]
    sampler = WindowSampler(genome, intervals, LENGTH, batch_size=BATCH, seed=SEED)
    found: dict[str, list[float]] = {}
    for pair in plan.pairs:
        chains = parse_views(pair, {"M": RandomMasking(MASK_RATE)})
        need = sum(chain.numbers for chain in chains)
        found[pair] = []
        for number in range(BATCHES):
            ids = torch.from_numpy(sampler.batch(number) & np.uint8(SOFT_BIT - 1))
            numbers = draw_numbers(random_stream(SEED, _VIEWS, number), len(ids), need)
            student, teacher = two_views(chains, ids, numbers)
            found[pair].append(float(view_dissimilarity(student.inputs, teacher.inputs)))
    return found


# ---------------------------------------------------------------- words


def by_seed(scores: dict[str, dict[str, Any]], arm: str, measure: str) -> list[float]:
    """Mean over the sets, one entry a seed."""
    return np.mean([arms[arm][measure] for arms in scores.values()], axis=0).tolist()


def pair_table(result: dict[str, Any]) -> str:
    """Dissimilarity and probes of each pair, beside what is published."""
    rows = []
    for pair, runs in result["pretraining"].items():
        published = PUBLISHED[pair]
        last = runs[0]["last"]
        rows.append(
            [
                pair,
                f"{np.mean(result['dissimilarity'][pair]):.3f}",
                f"{published[0]:.3f}" if published else "-",
                spread(by_seed(result["probe"], pair, "mcc")),
                spread([100 * a for a in by_seed(result["probe"], pair, "accuracy")], 2),
                f"{published[1]:.2f}" if published else "-",
                f"{runs[0]['test']['loss']:.4f}",
                f"{last['teacher_entropy'] / last['most_entropy']:.2f}",
                f"{last['agreement']:.2f}",
                f"{last['spread']:.3f}",
            ]
        )
    fresh = [spread(by_seed(result["probe"], "untrained", "mcc"))]
    fresh += [spread([100 * a for a in by_seed(result["probe"], "untrained", "accuracy")], 2)]
    rows.append(["untrained", "", "", *fresh, "", "", "", "", ""])
    head = ["student + teacher", "KL", "published", "probe MCC", "probe accuracy, %", "published"]
    return table([*head, "masked loss", "teacher entropy", "agreement", "spread"], rows)


def set_table(result: dict[str, Any]) -> str:
    """MCC of each pair on each set."""
    arms = list(next(iter(result["probe"].values())))
    rows = [
        [name, *(spread(found[arm]["mcc"]) for arm in arms)]
        for name, found in result["probe"].items()
    ]
    return table(["test MCC", *arms], rows)


def comparisons(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Differences from the pair with the least augmentation, means over the sets, by seed."""
    pairs, seeds = list(result["pretraining"]), result["setting"]["seeds"]
    values = {
        arm: np.array(by_seed(result["probe"], arm, "mcc")).reshape(-1, seeds)
        for arm in [*pairs, "untrained"]
    }
    return {
        f"{pair} - {other}": as_summary((values[pair] - values[other]).ravel().tolist())
        for other in ("untrained", pairs[0])
        for pair in pairs
        if pair != other
    }


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    setting = result["setting"]
    one = next(iter(result["pretraining"].values()))[0]
    rows = [
        [name, f"{d['mean']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})"]
        for name, d in result["comparisons"].items()
    ]
    return "\n".join(
        [
            "# FinDNA's pairs of views\n",
            said(result["conditions"]),
            f"A ChordMixer of {one['parameters']:,} values, pretrained on {setting['genome']} for "
            f"{setting['steps']:,} steps of {BATCH} windows of {LENGTH} bp with each pair, "
            f"{100 * MASK_RATE:.0f} % hidden, rate {setting['rate']:g}, softmax over "
            f"{setting['softmax']}, alpha {setting['alpha']:g}. M masks, D deletes, I inserts, T "
            "translocates, N adds noise, R takes the reverse complement of half of the windows.\n",
            pair_table(result),
            f"KL: mean over {BATCHES} batches of real windows, in nats. Probes: mean over "
            f"{len(setting['sets'])} sets, other ones than the paper's eight, so that the columns "
            "compare in their order alone. Mean over seeds ± standard deviation, with the 95 % "
            "bootstrap interval of the mean; a seed divides the rows in those to train and to "
            "choose on. Masked loss: nats a base, of the teacher on held-out windows. Entropy (1: "
            "all alike, 0: one has all), agreement of the views and spread over sequences are "
            "those at the end of training.\n",
            "## Sets\n",
            set_table(result),
            said_sets(result["sets"]) + "\n",
            "## Differences\n",
            table(["mean over the sets, paired by seed", "MCC"], rows),
            f"![dissimilarity of the views]({result['figure']})\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], parents=[shared_arguments("findna-views")]
    )
    parser.add_argument("--steps", type=int, default=450, help="of each pretraining")
    parser.add_argument("--softmax", choices=get_args(Over), default="tokens")
    parser.add_argument("--alpha", type=float, default=0.5, help="share of the hidden letters")
    parser.add_argument("--rate", type=float, default=4e-3, help="of learning in pretraining")
    parser.add_argument("--pairs", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    quick: dict[str, Any] = {"steps": 8, "sets": USUAL[:2], "seeds": 2, "rows": 200}
    values, name = told(parser.parse_args(), quick)
    plan = Plan(**values)
    result: dict[str, Any] = {
        "setting": {key: value for key, value in values.items() if key != "work"},
        "dissimilarity": dissimilarities(plan),
        "published": PUBLISHED,
        "pretraining": pretrain_all(plan),
        "probe": probe_all(plan),
        "sets": {name: about(name, plan.files(name)) for name in plan.sets},
    }
    torch.set_num_threads(plan.cores)
    result |= {
        "conditions": without_paths(conditions(SEED, torch.device("cpu")), plan.work),
        "comparisons": comparisons(result),
        "figure": f"{name}.svg",
    }
    published = {pair: both[0] for pair, both in PUBLISHED.items() if both}
    dissimilarity(result["dissimilarity"], published).write(RESULTS / result["figure"])
    write(name, result, report(result))


if __name__ == "__main__":
    main()
