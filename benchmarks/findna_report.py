"""The tables, sentences and the figure of `findna_tasks.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import RESULTS, said, table
from findna_common import (
    CNN_NAME,
    FAMILIES,
    KMERS,
    LENGTH,
    MASK_RATE,
    MOMENTUM,
    as_summary,
    best,
    said_sets,
    scratch,
    spread,
    untrained,
)

from helicon.report import comparison


def by_seed(scores: dict[str, dict[str, Any]], arm: str) -> list[float]:
    """Mean MCC over the sets, one entry a seed."""
    return np.mean([arms[arm]["mcc"] for arms in scores.values()], axis=0).tolist()


def score_table(scores: dict[str, dict[str, Any]], *, only_mean: bool = False) -> str:
    """MCC of every arm on every set, and the mean."""
    arms = list(next(iter(scores.values())))
    rows = [
        [name, *(spread(found[arm]["mcc"]) for arm in arms)]
        for name, found in scores.items()
        if not only_mean
    ]
    rows.append(["mean of the sets", *(spread(by_seed(scores, arm)) for arm in arms)])
    return table(["test MCC", *arms], rows)


def comparisons(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Differences of means over the sets, paired by seed, and how many sets have a positive one."""
    families: list[str] = list(result["pretraining"]["runs"])
    found: dict[str, dict[str, Any]] = {}
    for kind, fresh, other in (("probe", untrained, KMERS), ("finetuned", scratch, CNN_NAME)):
        scores = result[kind]
        pairs = [(family, fresh(FAMILIES[family][0])) for family in families]
        pairs += [(families[0], family) for family in families[1:]]
        pairs += [(family, other) for family in families]
        for one, base in pairs:
            # Several pretrainings of a family meet the same seeds one after another.
            ours, theirs = (
                np.reshape(by_seed(scores, arm), (-1, result["setting"]["seeds"]))
                for arm in (one, base)
            )
            better = [
                np.mean(arms[one]["mcc"]) > np.mean(arms[base]["mcc"]) for arms in scores.values()
            ]
            found[f"{kind}: {one} - {base}"] = {
                "difference": as_summary((ours - theirs).ravel().tolist()),
                "better_on": int(sum(better)),
                "sets": len(better),
            }
    return found


def pretraining_table(result: dict[str, Any]) -> str:
    """What each family was pretrained with, and reached."""
    rows = []
    for family, runs in result["pretraining"]["runs"].items():
        for run in runs:
            rows.append(
                [
                    f"{family}" + f", seed {run['seed']}" * (len(runs) > 1),
                    f"{run['parameters']:,}",
                    f"{run['lr']:g}",
                    f"{run['seconds'] / 60:.2f}",
                    f"{run['steps']:,}",
                    f"{run['letters'] / 1e6:.1f}",
                    f"{run['flops'] / 1e12:.1f}",
                    f"{run['test']['loss']:.4f}",
                    f"{run['test']['accuracy']:.4f}",
                ]
            )
    head = ["", "values", "rate", "minutes", "steps", "million bases", "TFLOP", "masked loss"]
    return table([*head, "accuracy"], rows)


def way_table(result: dict[str, Any]) -> str:
    """Probes of self-distillation in each way, and what was watched."""
    rows = []
    for family, tried in result["pretraining"]["ways"].items():
        base = spread(by_seed(result["probe"], untrained(FAMILIES[family][0])))
        rows.append([f"{family} untrained", "-", base, *["-"] * 5])
        for way, found in tried.items():
            last = found["run"]["last"]
            entropies = [
                f"{last[f'{who}_entropy'] / last['most_entropy']:.2f}"
                for who in ("teacher", "student")
            ]
            rows.append(
                [
                    f"{family}, {way}",
                    f"{np.mean(found['validation']):.3f}",
                    spread(found["test"]),
                    f"{found['run']['test']['loss']:.4f}",
                    *entropies,
                    f"{last['agreement']:.2f}",
                    f"{last['spread']:.3f}",
                ]
            )
    head = ["softmax and alpha", "validation MCC", "test MCC", "masked loss", "teacher entropy"]
    return table([*head, "student entropy", "agreement", "spread"], rows)


def beaten(result: dict[str, Any]) -> str:
    """On how many sets pretraining helped the probe."""
    found = []
    for family in result["pretraining"]["runs"]:
        base = untrained(FAMILIES[family][0])
        one = result["comparisons"][f"probe: {family} - {base}"]
        found.append(f"{family} on {one['better_on']} of {one['sets']} sets")
    return (
        "The mean of the pretrained network is above that of the same network untrained: "
        + ", ".join(found)
        + ".\n"
    )


def report(result: dict[str, Any]) -> str:
    """The results in Markdown."""
    setting = result["setting"]
    rates = ", ".join(f"{arm} {best(tried)}" for arm, tried in result["finetuning_trials"].items())
    differences = [
        [
            name,
            f"{one['difference']['mean']:+.3f} ({one['difference']['low']:+.3f} to "
            f"{one['difference']['high']:+.3f})",
            f"{one['better_on']} of {one['sets']}",
        ]
        for name, one in result["comparisons"].items()
    ]
    return "\n".join(
        [
            "# FinDNA, CM-MNM, FinDNA-T and ConvNova at equal compute\n",
            said(result["conditions"]),
            f"Networks of about {setting['size']} values, pretrained on {setting['genome']} for as "
            f"many steps as {setting['minutes']:g} minutes of {setting['cores']} threads hold at "
            f"the speed of each, measured side by side: windows of {LENGTH} bp, "
            f"{100 * MASK_RATE:.0f} % hidden (eight tenths of them blank, one tenth "
            "random, one tenth as they are). That is a small fraction of the "
            "paper's scale (12.7 million values, 50 epochs of 100,000 windows of 1,000 bp on eight "
            "GPUs): what is found here holds here.\n",
            "## Pretraining\n",
            pretraining_table(result),
            "Masked loss (nats a base) and accuracy are of held-out windows, of the teacher where "
            "there is one. TFLOP are counted: forward and backward as three forward passes, the "
            "teacher's as one. The teacher keeps at first "
            f"{MOMENTUM} of its weights in a step, the centre as much throughout (the paper's "
            "0.996 is for many more steps).\n",
            "## Ways of self-distillation\n",
            way_table(result),
            "Linear probes, mean over the sets, of the first pretraining's teacher. A way is what "
            "the softmax at the blank tokens runs over, and alpha, the share of the hidden letters "
            "in the loss; the first is the paper's. The one with the best validation MCC went on "
            "to all that follows: "
            + ", ".join(
                f"{family} {way}" for family, way in result["pretraining"]["chosen"].items()
            )
            + ". Entropies (1: all alike, 0: one has all), agreement of the views and spread over "
            "sequences are those at the end of training.\n",
            "## Linear probes\n",
            score_table(result["probe"]),
            beaten(result),
            "Of self-distilled runs both networks, averaged over positions and over blank tokens "
            "(CLS):\n",
            score_table(result["pooling"], only_mean=True),
            "## Fine-tuned\n",
            score_table(result["finetuned"]),
            "The first pretraining of each family, "
            f"{setting['steps']} steps of {setting['batch']}. Learning rates: {rates} (the best of "
            f"{', '.join(f'{rate:g}' for rate in setting['rates'])} by validation MCC on "
            f"{' and '.join(setting['tuned'][:2])}).\n",
            "## Differences\n",
            table(["mean over the sets", "MCC", "better on"], differences),
            "Mean over seeds ± standard deviation, with the 95 % bootstrap interval of the mean; "
            "differences are paired by seed. A seed divides the rows in those to train and to "
            "choose on, the same for all, and draws new weights and the order. The intervals hold "
            "no chance of the test rows, which are the same for all: 300 of them give an MCC a "
            "standard error of about 0.05. " + said_sets(result["sets"]) + "\n",
            f"![means over the sets]({result['figure']})\n",
        ]
    )


def draw(result: dict[str, Any], name: str) -> None:
    """Means over the sets, a dot a seed."""
    groups = {
        f"{arm}, {'probe' if kind == 'probe' else 'fine-tuned'}": by_seed(result[kind], arm)
        for kind in ("probe", "finetuned")
        for arm in next(iter(result[kind].values()))
    }
    figure = comparison(groups, "MCC, mean over the sets", title="FinDNA at equal compute")
    figure.write(RESULTS / f"{name}.svg")
