"""What the tests of this room share: a strict reader of pages and results to make them from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import numpy as np

from helicon.report.results.demo import (
    Arm,
    DemoResults,
    Gene,
    MaskedScore,
    Pretraining,
    Region,
    RegionTrack,
    SeedRun,
)
from helicon.report.results.protein_demo import (
    Predictions,
    ProteinArm,
    ProteinDemoResults,
    ProteinPart,
)

_VOID = {"meta", "link", "br", "hr", "img", "input"}
_FETCHING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background"}


@dataclass
class Page(HTMLParser):
    """A parsed page; raises where a tag is not closed in order."""

    text: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def shown(self) -> str:
        return " ".join(" ".join(self.words).split())

    def assert_self_contained(self) -> None:
        for _, attributes in self.tags:
            for name in _FETCHING & attributes.keys():
                assert attributes[name].startswith(("#", "data:")), attributes
            assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", self.text)  # but for clips of drawings
        assert "@import" not in self.text
        assert len(self.all("script")) == 1
        assert len(self.text.encode()) < 2_000_000

    def assert_accessible(self) -> None:
        for attributes in self.all("svg"):
            if attributes.get("role") == "img":
                assert attributes["aria-label"]
        figures, captions = self.all("figure"), self.all("figcaption")
        assert len(figures) == len(captions)
        assert self.all("html")[0]["lang"] == "en"
        for name in ("aria-labelledby", "aria-describedby"):
            ids = {attributes.get("id") for _, attributes in self.tags}
            assert all(a[name] in ids for _, a in self.tags if name in a)


def watched_rows(
    *, steps: int = 100, spread: float = 0.12, entropy: float = 1.2, choices: int = 10
) -> list[dict[str, Any]]:
    """Rows of a log of self-distillation, settled behind the first steps; made-up numbers."""
    return [
        {
            "step": step,
            "kind": "train",
            "loss": 1.7 + 1 / step,
            "masked_loss": 1.37 + 0.1 / step,
            "cls_loss": 2.1 + 1 / step,
            "teacher_entropy": entropy + 1 / step**2,
            "student_entropy": 2.0,
            "most_entropy": math.log(choices),
            "agreement": 0.4,
            "spread": spread,
            "center_norm": 0.01 * step,
        }
        for step in range(1, steps + 1)
    ]


def demo_results(*, seeds: int = 3, length: int = 6000, name: str = "") -> DemoResults:
    """Results of a demo with made-up numbers; `name` stands in every free text."""
    wave = 0.5 + 0.5 * np.sin(np.arange(length) / 300)
    runs = tuple(
        SeedRun(s, ((80 + s, 12, 8), (5, 90, 5), (6, 4, 90)), ((0.0, 0.1), (80.0, 0.7 + s / 100)))
        for s in range(seeds)
    )
    weak = tuple(SeedRun(s, ((60, 20, 20), (25, 50, 25), (20, 30 + s, 50))) for s in range(seeds))
    steps = [float(s) for s in range(10, 1001, 10)]
    return DemoResults(
        genome=f"Escherichia coli 536 {name}",
        split={"train": 3_900_000, "validation": 490_000, "test": 490_000},
        model=f"convnova-tiny {name}",
        parameters=123_456,
        receptive_field=697,
        classes=("intergenic", "coding forward", f"coding reverse {name}"),
        labelled_bases=50_000,
        finetune_steps=160,
        pretraining=Pretraining(
            training=tuple((s, 1.3 + 1 / s) for s in steps),
            validation=((500.0, 1.31), (1000.0, 1.30)),
            steps=1000,
            letters=32_768_000,
            seconds=240.5,
            score=MaskedScore(f"convnova-tiny {name}", 0.37, 3.7),
            baselines=(MaskedScore("order-5 Markov", 0.34, 3.86),),
        ),
        arms=(Arm(f"pretrained {name}", runs), Arm("from scratch", weak)),
        region=Region(
            chrom=f"NC_008253.1 {name}",
            start=10_000,
            end=10_000 + length,
            description=f"test block {name}",
            genes=(Gene(9_500, 10_900, "+", f"gene1 {name}"), Gene(11_000, 12_500, "-", "gene2")),
            tracks=(
                RegionTrack.of("pretrained", wave, 1 - wave),
                RegionTrack.of("from scratch", wave / 2, wave / 2),
            ),
        ),
        model_folder="runs/demo/model",
        commands=("helicon demo --out runs/demo",),
        next_commands=(f"helicon evaluate runs/demo {name}",),
        provenance=_provenance(name),
    )


def protein_demo_results(*, seeds: int = 3, genes: int = 400, name: str = "") -> ProteinDemoResults:
    """Results of the protein demo with made-up numbers; `name` stands in every free text."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, genes)

    def predicted(noise: float, runs: list[int | None]) -> tuple[Predictions, ...]:
        noisy = (truth + noise * rng.normal(size=genes) for _ in runs)
        curve = ((50.0, 0.3), (100.0, 0.5))
        return tuple(
            Predictions(seed, tuple(values.tolist()), () if seed is None else curve)
            for seed, values in zip(runs, noisy, strict=True)
        )

    steps = [float(s) for s in range(10, 1001, 10)]
    numbers: list[int | None] = list(range(seeds))
    return ProteinDemoResults(
        genome=f"Escherichia coli 536 {name}",
        split={
            "train": ProteinPart(3_718, 3_400, 1_179_808),
            "validation": ProteinPart(253, 240, 86_263),
            "test": ProteinPart(genes, 545, 172_787),
        },
        clusters_by=f"shared 6-mers {name}",
        reference_genes=45,
        model=f"carp-600k, d_model 96 {name}",
        parameters=174_702,
        receptive_field=1021,
        finetune_steps=150,
        pretraining=Pretraining(
            training=tuple((s, 2.7 + 1 / s) for s in steps),
            validation=((500.0, 2.85), (1000.0, 2.83)),
            steps=1000,
            letters=4_096_000,
            seconds=198.5,
            score=MaskedScore(f"CARP {name}", 0.125, 16.9),
            baselines=(
                MaskedScore("Markov, order 0", 0.108, 17.87),
                MaskedScore("Markov, order 2", 0.111, 17.69),
            ),
        ),
        truth=tuple(truth.tolist()),
        arms=(
            ProteinArm(f"pretrained {name}", predicted(0.1, numbers)),
            ProteinArm("from scratch", predicted(0.3, numbers)),
            ProteinArm("pretrained, linear probe", predicted(0.1, [0])),
        ),
        baselines=(ProteinArm(f"amino-acid composition {name}", predicted(0.2, [None])),),
        kept="pretrained, linear probe",
        model_folder="demo-carp/probed/model",
        commands=("helicon demo --system carp --out demo-carp",),
        next_commands=(f"helicon predict demo-carp/finetuned/model {name}",),
        provenance=_provenance(name),
    )


def _provenance(name: str) -> dict[str, Any]:
    return {
        "seed": 0,
        "data": {"NC_008253.fa.gz": "9f86d081" * 8},
        "commit": None,
        "versions": {"helicon": "0.1.0", "torch": "2.13.0"},
        "machine": {"cpu": f"a processor {name}", "cores": 2, "gpu": None},
        "seconds": 431.0,
        "peak_memory_mb": 1234.0,
    }
