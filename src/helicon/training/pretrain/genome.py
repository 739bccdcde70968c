"""What pretraining reads of a genome: its parts, windows of them, and Markov models beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from helicon.alphabet import DNA, SOFT_BIT, Ids
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import (
    SPLITS,
    Intervals,
    read_bed,
    split_blocks,
    split_chromosomes,
)
from helicon.data.sampling.windows import Windows, WindowSampler
from helicon.errors import InputError
from helicon.files import existing_file, sha256
from helicon.models.hub import HeliconForMaskedLM
from helicon.training.pretrain.distilled import DistilledTask
from helicon.training.pretrain.masked import MaskedTask, measure_masked, spread_windows
from helicon.training.pretrain.recipe import GenomeData, Plan
from helicon.training.pretrain.result import Proteins, located
from helicon.training.yardsticks.markov import MarkovScore, markov_baselines

#: Highest order of the Markov models that a run is compared with.
_ORDER = 5


class GenomeCorpus:
    """The three parts of a genome, and the windows drawn from them; see `pretrain.Corpus`."""

    unit = "bases"
    about = "DNA"

    def __init__(self, plan: Plan, options: GenomeData):
        self.plan = plan
        self.proteins: Proteins | None = None
        self.options = options
        self.genome = Genome.open(located(options.data))
        self.path = self.genome.path
        self.intervals = self._split()
        self.split = {name: int(part.lengths.sum()) for name, part in self.intervals.items()}
        self.train = self._sampler("train")
        self.validation = self._windows("validation", self.options.validation_windows)
        self.held_out = self._windows("test", self.options.test_windows)

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of everything that is read."""
        hashes = {"genome": self.genome.sha256}
        if self.options.intervals is not None:
            hashes["intervals"] = sha256(located(self.options.intervals))
        return hashes

    @property
    def task(self) -> MaskedTask | DistilledTask:
        """What to train."""
        accumulate, validation = self.plan.training.accumulate, self.validation
        if self.plan.distillation is None:
            masking = self.plan.masking
            return MaskedTask(self.train, masking, accumulate=accumulate, validation=validation)
        return DistilledTask(
            self._drawn,
            self.plan.distillation,
            seed=self.plan.training.seed,
            accumulate=accumulate,
            score=lambda network: self._scores(network, validation),
        )

    def _drawn(self, number: int, rank: int, world: int) -> tuple[Ids, NDArray[np.bool_]]:
        """See `distilled.Drawn`."""
        ids = self.train.batch(number, rank) & np.uint8(SOFT_BIT - 1)
        return ids, ids != DNA.pad_id

    @property
    def batches_per_epoch(self) -> float:
        """Batches of one process in a pass over the training part."""
        return self.train.steps_per_epoch

    def test(self, network: HeliconForMaskedLM) -> dict[str, float]:
        """Measure on the test part; empty where there is none."""
        return self._scores(network, self.held_out)

    def _scores(
        self, network: HeliconForMaskedLM, where: tuple[WindowSampler, Windows] | None
    ) -> dict[str, float]:
        return measure_masked(network, *where, self.plan.mask_rate) if where else {}

    def baselines(self) -> list[MarkovScore]:
        """Markov models of the training part on the same windows."""
        held_out = self.held_out or self.validation
        scored = [] if held_out is None else held_out[0].evaluation_batches(held_out[1])
        return markov_baselines(self.genome, self.intervals["train"], scored, order=_ORDER)

    def _split(self) -> dict[str, Intervals]:
        options = self.options
        if options.intervals is not None:
            path = existing_file(located(options.intervals), "BED file")
            found = read_bed(path, self.genome)
            if "train" not in found.split:
                raise InputError(f"{path}: no interval says `train` in its fourth column; add it")
            return {part: found.select(part) for part in SPLITS if part in found.split}
        if options.valid_chromosomes:
            valid, test = options.valid_chromosomes, options.test_chromosomes or []
            return split_chromosomes(self.genome, valid, test)
        return split_blocks(self.genome, block=options.split_block)

    def _sampler(self, part: str) -> WindowSampler:
        options = self.options
        return WindowSampler(
            self.genome,
            self.intervals[part],
            options.length,
            batch_size=options.batch_size,
            seed=self.plan.training.seed,
            reverse_complement=options.reverse_complement,
            offsets=options.offsets,
            max_unknown=options.max_unknown,
            world=self.plan.world,
        )

    def _windows(self, part: str, most: int) -> tuple[WindowSampler, Windows] | None:
        """Windows to measure on; `None` where there is no such part, or all of it is unknown."""
        if part not in self.intervals or not len(self.intervals[part]):
            return None
        sampler = self._sampler(part)
        windows = spread_windows(sampler.tiles(), most)
        return (sampler, windows) if len(windows) else None
