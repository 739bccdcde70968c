"""Measuring language models: how well they predict hidden letters, beside Markov models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from helicon.alphabet import DNA
from helicon.archives import through
from helicon.data.genome.genome import Genome
from helicon.data.sampling.windows import WindowSampler
from helicon.errors import InputError
from helicon.metrics.measured import Measures
from helicon.models.hub import HeliconForMaskedLM, HeliconPreTrainedModel
from helicon.training.evaluate.hidden_residues import hidden_residues
from helicon.training.kinds.kind import Answer, Measurable
from helicon.training.kinds.positions import stretches_of
from helicon.training.pretrain.masked import measure_masked
from helicon.training.run.options import Asked, check_numbers
from helicon.training.run.recipe import check_counts
from helicon.training.yardsticks.markov import markov_baselines

#: Windows of a masked language model in a batch. The hidden bases depend on it.
_WINDOWS = 32
#: Highest order of the Markov models beside a masked language model, and its share of hidden bases.
_ORDER, _RATE = 5, 0.10


@dataclass(frozen=True, kw_only=True)
class HiddenBases(Measurable):
    """A genome whose hidden bases a language model predicts.

    Attributes:
        mask_rate: language model: share of the letters to hide; 0.10 of DNA and 0.15 of proteins
            if not given.
        seed: language model: of the hidden letters.
    """

    title: ClassVar[str] = "Data: letters that a language model predicts"
    what: ClassVar[str] = "hidden bases of a genome"

    intervals: Path | None = None
    part: str | None = None
    length: int = 1024
    mask_rate: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, ("length",))
        check_numbers(self, ("mask_rate",), 0, 1, open="()")
        check_numbers(self, ("seed",), 0, 2**63, open=")")

    @classmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a model is a language model of DNA."""
        return isinstance(network, HeliconForMaskedLM) and network.backbone.alphabet is DNA

    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """See `Measurable.evaluate`."""
        assert isinstance(network, HeliconForMaskedLM)
        genome = Genome.open(through(self.data, "file to read"))
        places = stretches_of(self.intervals, self.part)(genome)
        sampler = WindowSampler(genome, places, self.length, batch_size=_WINDOWS, seed=self.seed)
        windows = sampler.tiles()
        if not len(windows):
            raise InputError(
                f"{self.data}: holds no window that is not mostly N; choose other parts"
            )
        with_split = self.intervals is not None and self.part not in (None, "train")
        fitted = stretches_of(self.intervals, "train")(genome) if with_split else places
        letters = sampler.evaluation_batches(windows)
        baselines = markov_baselines(genome, fitted, letters, order=_ORDER)
        found = measure_masked(network.eval(), sampler, windows, self.mask_rate or _RATE)
        measured = Measures(found)
        return Answer(int(windows.sizes.sum()), "bases", measured, None, tuple(baselines))


@dataclass(frozen=True, kw_only=True)
class HiddenResidues(Measurable):
    """Proteins whose hidden residues a language model predicts.

    Attributes:
        fit_on: language model of proteins: file of proteins to fit the Markov models on; those
            that are measured on if not given, an advantage that the model does not have.
    """

    title: ClassVar[str] = "Data: letters that a language model predicts"
    what: ClassVar[str] = "hidden residues of proteins"

    sequence: str = "sequence"
    batch_size: int | None = None
    mask_rate: float | None = None
    seed: int = 0
    fit_on: Path | None = None

    def __post_init__(self) -> None:
        check_counts(self, ("batch_size",))
        check_numbers(self, ("mask_rate",), 0, 1, open="()")
        check_numbers(self, ("seed",), 0, 2**63, open=")")

    @classmethod
    def fits(cls, network: HeliconPreTrainedModel, options: Mapping[str, Any]) -> bool:
        """Whether a model is a language model of proteins."""
        return isinstance(network, HeliconForMaskedLM) and network.backbone.alphabet is not DNA

    def evaluate(self, network: HeliconPreTrainedModel, asked: Asked, name: str) -> Answer:
        """See `Measurable.evaluate`."""
        assert isinstance(network, HeliconForMaskedLM)
        found = hidden_residues(
            network.eval(),
            through(self.data, "file to read"),
            sequence=self.sequence,
            rate=self.mask_rate,
            batch_size=self.batch_size,
            seed=self.seed,
            fit_on=self.fit_on,
        )
        measured, baselines = Measures(found.metrics), tuple(found.baselines)
        return Answer(found.residues, "residues", measured, None, baselines)
