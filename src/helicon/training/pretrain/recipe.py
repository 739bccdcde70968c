"""The options of `helicon pretrain`, and what a genome and proteins decide of those not given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from helicon.alphabet import DNA, Alphabet
from helicon.data.sampling.clusters import ClusterBy
from helicon.data.tables.store import is_fasta
from helicon.errors import InputError
from helicon.objectives.masked_lm import Masking, Replacement
from helicon.objectives.self_distillation import Distillation
from helicon.training.loop.options import Machine, Training
from helicon.training.loop.settings import LoopSettings
from helicon.training.pretrain.result import located
from helicon.training.run.options import Asked, Options, check_numbers, names_of
from helicon.training.run.recipe import check_counts

Objective = Literal["masked-lm", "self-distillation"]

#: Augmentations where there is no other strand; with one, the paper's are the default.
_VIEWS_ONE_STRAND = "MDIT+N"


@dataclass(frozen=True, kw_only=True)
class MaskedLm(Options):
    """How letters are hidden.

    Attributes:
        mask_rate: share of the letters to predict; 0.10 of a genome and 0.15 of proteins if not
            given, 0.3 with self-distillation.
        replacement: masked-lm: what stands in their place: the mask symbol (`mask`, for a genome if
            not given); in a tenth of the cases a random letter and in a tenth the letter itself
            (`80-10-10`); what the published CARP code does, which is the same with a fixed number
            of targets in each sequence and another letter than was there (`carp`, for proteins if
            not given); or what the published ConvNova code does (`official`), which also needs
            `backbone.mask_reads_as` to be N, and had a rate of 0.15.
        soft_weight: masked-lm, of a genome: weight in the loss of lower-case bases (repeats), 0 to
            1; 1 if not given.
    """

    title: ClassVar[str] = "Objective: hidden letters"

    mask_rate: float | None = None
    replacement: Replacement | None = None
    soft_weight: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, ("mask_rate",), 0, 1, open="()")
        check_numbers(self, ("soft_weight",), 0, 1)

    def over(self, usual: MaskedLm) -> MaskedLm:
        """The options as given, and of those that were not, the usual ones."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(usual, **{name: v for name, v in given.items() if v is not None})

    @property
    def masking(self) -> Masking:
        """How sequences are corrupted; rate and replacement are decided."""
        assert self.mask_rate is not None
        assert self.replacement is not None
        weight = 1.0 if self.soft_weight is None else self.soft_weight
        return Masking(self.mask_rate, self.replacement, weight)


@dataclass(frozen=True, kw_only=True)
class SelfDistilled(Distillation, Options):
    """How a student learns from its teacher, as options.

    Attributes:
        views: letters of the student's augmentations in order, `+`, letters of the teacher's: masks
            (M, which the student's hold), deletion, insertion, translocation, noise, reverse
            complement, inversion (V), point mutation, or `NoAug`. MDIT+N for proteins.
    """

    title: ClassVar[str] = "Objective: self-distillation"

    def on(self, alphabet: Alphabet, asked: Asked) -> SelfDistilled:
        """The same, with views that the alphabet has where they were not given."""
        if alphabet.complements or "views" in asked.given or self.views != Distillation.views:
            return self
        return replace(self, views=_VIEWS_ONE_STRAND)


@dataclass(frozen=True, kw_only=True)
class Pretraining(Training):
    """How the model learns.

    Attributes:
        steps: optimiser steps; without it, `epochs` and `minutes`, 10,000.
        eval_every: steps between validations; ten in the run if not given.
        checkpoint_every: steps between checkpoints; one with each validation if not given.
        patience: validations without improvement after which training stops; never if not given.
        seed: of weights, order, masks and dropout.
    """

    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, ("checkpoint_every",))


@dataclass(frozen=True, kw_only=True)
class Readable(Options, ABC):
    """Data to pretrain on.

    Attributes:
        what: it is, in words that follow "an option for".
        usual: how letters are hidden, where it is not given.
    """

    what: ClassVar[str]
    usual: ClassVar[MaskedLm]

    data: Path = field(kw_only=False, metadata={"verbs": ()})

    @abstractmethod
    def decided(self, hidden: MaskedLm, asked: Asked) -> Self:
        """The options, with every one that was not given.

        Raises:
            InputError: an option means nothing beside another one, or for this data.
        """

    @property
    @abstractmethod
    def longest(self) -> int | None:
        """Letters of the longest sequence to train on, if that is known."""


@dataclass(frozen=True, kw_only=True)
class GenomeData(Readable):
    """A genome, split by position.

    Attributes:
        length: bases of a window.
        batch_size: windows in a batch, in each process.
        intervals: BED file of the stretches to draw windows from, whose fourth column says `train`,
            `valid` or `test`.
        offsets: draw windows anywhere in the intervals (`random`), or take the first bases of each
            (`head`).
        reverse_complement: read each window from a strand drawn at random.
        max_unknown: share of N above which a window is drawn again.
        valid_chromosomes: chromosomes to choose the best weights on.
        test_chromosomes: chromosomes to measure on at the end.
        split_block: bases of a block, where the genome is split in blocks.
        validation_windows: windows of a validation, evenly spread over the part.
        test_windows: windows of the test, evenly spread over the part.
    """

    title: ClassVar[str] = "Data: a genome"
    what: ClassVar[str] = "a genome"
    usual: ClassVar[MaskedLm] = MaskedLm(mask_rate=0.10, replacement="mask", soft_weight=1.0)

    length: int = 1024
    batch_size: int = 32
    intervals: Path | None = None
    offsets: Literal["random", "head"] = "random"
    reverse_complement: bool = True
    max_unknown: float = 0.5
    valid_chromosomes: list[str] | None = None
    test_chromosomes: list[str] | None = None
    split_block: int = 50_000
    validation_windows: int = 256
    test_windows: int = 2048

    def __post_init__(self) -> None:
        counts = ("length", "batch_size", "split_block", "validation_windows", "test_windows")
        check_counts(self, counts)
        check_numbers(self, ("max_unknown",), 0, 1)

    def decided(self, hidden: MaskedLm, asked: Asked) -> Self:
        """See `Readable.decided`."""
        if hidden.replacement == "carp":
            raise InputError("replacement: `carp` is for proteins; leave it out, or give mask")
        if self.intervals is not None and (self.valid_chromosomes or self.test_chromosomes):
            raise InputError("give intervals, whose file names the split, or chromosomes")
        if self.test_chromosomes and not self.valid_chromosomes:
            raise InputError("test_chromosomes: name valid_chromosomes too, to choose on")
        if self.intervals is not None:
            asked.refuse(["split_block"], f"{self.intervals} divides the genome")
        if self.valid_chromosomes:
            asked.refuse(["split_block"], "chromosomes divide the genome")
        return self

    @property
    def longest(self) -> int | None:
        """See `Readable.longest`."""
        return self.length


@dataclass(frozen=True, kw_only=True)
class ProteinData(Readable):
    """Proteins, split by cluster.

    Attributes:
        max_tokens: most positions in a batch, padding counted, in each process. A longer protein
            makes a batch of its own.
        max_sequences: most sequences in a batch.
        crop: longest stretch to train on; a longer protein gives a stretch drawn anew in every
            epoch. Nothing is cropped if not given.
        sequence: column of sequences of a table.
        clusters: table that names the cluster of every sequence, two columns with a tab between
            (`name, cluster`, or `representative, member` of MMseqs2).
        cluster_by: without `clusters`: sequences that share k-mers are a cluster (`kmers`, if not
            given), the headers say `cluster=NAME` (`header`), or each sequence is one (`none`, for
            a set of representatives such as UniRef50).
        validation_fraction: share of the residues to choose the best weights on.
        test_fraction: share of the residues to measure on at the end.
        validation_sequences: most sequences of a validation, evenly spread over the part.
        test_sequences: most sequences of the test, evenly spread.
    """

    title: ClassVar[str] = "Data: proteins"
    what: ClassVar[str] = "proteins"
    usual: ClassVar[MaskedLm] = MaskedLm(mask_rate=0.15, replacement="carp")

    max_tokens: int = 16_384
    max_sequences: int = 1024
    crop: int | None = None
    sequence: str = "sequence"
    clusters: Path | None = None
    cluster_by: ClusterBy | None = None
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    validation_sequences: int = 1024
    test_sequences: int = 8192

    def __post_init__(self) -> None:
        counts = ("max_tokens", "max_sequences", "crop", "validation_sequences", "test_sequences")
        check_counts(self, counts)
        check_numbers(self, ("validation_fraction", "test_fraction"), 0, 1, open=")")
        if self.validation_fraction + self.test_fraction >= 1:
            raise InputError("validation_fraction and test_fraction leave nothing to train on")

    def decided(self, hidden: MaskedLm, asked: Asked) -> Self:
        """See `Readable.decided`."""
        asked.refuse(["soft_weight"], f"is an option for a genome, not for {self.what}")
        if hidden.replacement == "official":
            raise InputError(
                "replacement: `official` is what ConvNova's code does with DNA; leave it out, or "
                "give carp"
            )
        if self.clusters is not None and self.cluster_by is not None:
            raise InputError("give clusters, a table that names them, or cluster_by, not both")
        for part in ("validation", "test"):
            if getattr(self, f"{part}_fraction") == 0:
                asked.refuse([f"{part}_sequences"], f"{part}_fraction is 0")
        if "sequence" in asked.given and is_fasta(located(self.data)):
            asked.refuse(["sequence"], f"names a column, and {self.data} is no table")
        if self.clusters is None and self.cluster_by is None:
            return replace(self, cluster_by="kmers")
        return self

    @property
    def longest(self) -> int | None:
        """See `Readable.longest`."""
        return self.crop


def corpora() -> list[type[Readable]]:
    """What may be read, as a list of options names it."""
    return [GenomeData, ProteinData]


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and how, with everything decided.

    Attributes:
        model: where it starts from.
        backbone: settings of the named size that were changed.
        objective: what it is trained for.
        corpus: what is read.
        hidden: how letters are hidden; `None` with another objective.
        distillation: how a student learns from its teacher; `None` with another objective.
        training: how it learns.
        machine: where.
    """

    model: str
    backbone: dict[str, Any] | None
    objective: Objective
    corpus: GenomeData | ProteinData
    hidden: MaskedLm | None
    distillation: SelfDistilled | None
    training: Pretraining
    machine: Machine

    @property
    def values(self) -> dict[str, Any]:
        """Every option by name, for the recipe."""
        groups = (self.corpus, self.hidden, self.distillation, self.training, self.machine)
        own = {n: getattr(self, n) for n in ("model", "backbone", "objective")}
        named = {n: getattr(g, n) for g in groups if g for n in names_of(g, "pretrain")}
        found = {"data": self.corpus.data, **own, **named}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def masking(self) -> Masking:
        """How sequences are corrupted, where hidden letters are all that is learned."""
        assert self.hidden is not None
        return self.hidden.masking

    @property
    def mask_rate(self) -> float:
        """Share of the letters that are hidden."""
        return self.masking.rate if self.distillation is None else self.distillation.mask_rate

    @property
    def longest(self) -> int | None:
        """Positions of the longest sequence to train on, blank tokens too, if that is known."""
        if self.corpus.longest is None:
            return None
        blanks = 0 if self.distillation is None else self.distillation.cls_tokens
        return self.corpus.longest + blanks

    @property
    def world(self) -> int:
        """Processes."""
        return self.machine.devices * self.machine.nodes

    def loop(self, steps: int | None) -> LoopSettings:
        """How the loop trains; `steps` is `None` for a budget in minutes."""
        training = self.training
        return training.loop(
            self.machine,
            steps=steps,
            eval_every=training.eval_every,
            checkpoint_every=training.checkpoint_every,
        )


@dataclass(frozen=True)
class Wanted:
    """What was asked for, before it is known what the model reads; see `Plan`."""

    data: Path | GenomeData | ProteinData
    model: str
    backbone: dict[str, Any] | None
    objective: Objective
    hidden: MaskedLm
    distillation: SelfDistilled
    training: Pretraining
    machine: Machine
    asked: Asked

    def __post_init__(self) -> None:
        is_distilled = self.objective == "self-distillation"
        groups = (MaskedLm, SelfDistilled)
        mine, other = ({*names_of(g, "pretrain")} for g in groups[:: -1 if is_distilled else 1])
        theirs = "masked-lm" if is_distilled else "self-distillation"
        said = f"is an option of the objective {theirs}, not of {self.objective}"
        self.asked.refuse(other - mine, said)
        if is_distilled and self.machine.strategy == "fsdp":
            raise InputError("strategy: self-distillation is not for fsdp; give ddp or auto")

    def planned(self, alphabet: Alphabet) -> Plan:
        """Decide what the alphabet decides.

        Args:
            alphabet: that the model reads.

        Raises:
            InputError: an option belongs to data of the other kind, or means nothing.
        """
        corpus = self._corpus(alphabet).decided(self.hidden, self.asked)
        is_distilled = self.objective == "self-distillation"
        return Plan(
            self.model,
            self.backbone,
            self.objective,
            corpus,
            None if is_distilled else self.hidden.over(corpus.usual),
            self.distillation.on(alphabet, self.asked) if is_distilled else None,
            self.training,
            self.machine,
        )

    def _corpus(self, alphabet: Alphabet) -> GenomeData | ProteinData:
        mine, other = (GenomeData, ProteinData)[:: 1 if alphabet is DNA else -1]
        reads = f"but {self.model} reads {mine.what}"
        foreign = {*names_of(other, "pretrain")} - {*names_of(mine, "pretrain")}
        self.asked.refuse(foreign, f"is an option for {other.what}, {reads}")
        if not isinstance(self.data, Readable):
            return mine(Path(self.data), **self.asked.of_data)
        if not isinstance(self.data, mine):
            raise InputError(f"{self.data.data}: is given as {other.what}, {reads}")
        return replace(self.data, **self.asked.of_data)
