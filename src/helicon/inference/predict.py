"""`helicon predict`: what a fine-tuned model says of sequences, regions, or every position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from helicon.alphabet import DNA
from helicon.data.annotation.gff import read_gff
from helicon.data.genome.genome import Genome
from helicon.data.genome.intervals import Intervals, merged_regions
from helicon.data.tables.store import OnError
from helicon.errors import InputError
from helicon.forward.memory import describe
from helicon.forward.network import Network
from helicon.forward.pooling import in_pieces
from helicon.forward.tiles import Tiling
from helicon.inference.contacts import Choice, predict_contacts
from helicon.inference.genes.genes import GenesJob, GrammarChoice, circular_contigs
from helicon.inference.genes.grammar import Grammar
from helicon.inference.genes.segments import format_of
from helicon.inference.genes.transitions import read_grammar
from helicon.inference.jobs import keyed
from helicon.inference.jobs.engine import run, write_parquet
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.inputs import Payload, Reading, say_skipped
from helicon.inference.jobs.job import Engine, Shard
from helicon.inference.jobs.keyed import Outcome
from helicon.inference.jobs.passes import Passes, Values
from helicon.machine.precision import Precision
from helicon.metrics.genes import measure_genes, score_gff
from helicon.metrics.measured import probabilities
from helicon.metrics.targets import Target
from helicon.models.parts.heads import Problem


def predict(
    model: str,
    data: Path,
    *,
    out: Path,
    regions: Path | None = None,
    both_strands: bool = False,
    grammar: GrammarChoice = "auto",
    transitions: Path | None = None,
    circular: list[str] | None = None,
    through_gaps: bool = False,
    annotation: Path | None = None,
    feature: str | None = None,
    pairs: float | None = None,
    threshold: float | None = None,
    sequence: str | None = None,
    name: str | None = None,
    on_error: OnError = "fail",
    window: int | None = None,
    overlap: int | None = None,
    devices: int = 1,
    engine: Literal["local", "ray"] = "local",
    accelerator: str = "auto",
    precision: Precision = "float32",
) -> Outcome:
    """Write what a fine-tuned model predicts: for sequences, or for every position.

    A model of sequences gives a row a sequence or region, which it reads by itself. A model of
    positions gives a row a position; it sees the genome around regions. As `.gff3` or `.bed`, the
    best legal sequence of its classes is written as features, genes for instance. A model of
    contacts gives a row a pair of residues, the most probable pairs of every protein.

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        data: sequences as FASTA, CSV, TSV or Parquet; with regions, or for features, a genome as
            FASTA.
        out: `.parquet` file; or `.gff3` or `.bed` (perhaps `.gz`) for features.
        regions: BED file of regions of the genome; those on the strand `-` are read as reverse
            complement. Features are decoded in each region by itself.
        both_strands: average what is predicted from both strands.
        grammar: of features: which classes may follow each other, and where.
        transitions: of features: file with the costs of changes from one class to another.
        circular: of genes: names of contigs that are circles, whose genes may go across the origin;
            `all` for every one.
        through_gaps: of genes: let them run through runs of 10 `N` and more, at which they are cut
            otherwise.
        annotation: of features: GFF3 or GTF file of what is true; the features found are measured
            against it, base by base, feature by feature and gene by gene.
        feature: type of the features that are compared; that of the model's if not given (`CDS` of
            genes, `exon` of spliced ones).
        pairs: of contacts: the most probable pairs, so many for each residue of a protein. Where
            neither this nor a threshold is given, 2.
        threshold: of contacts: pairs that are at least so probable.
        sequence: column of sequences of a table; `sequence` if not given.
        name: column of names of a table; `name` or `id` if not given, or else rows are numbered.
        on_error: `skip` leaves out sequences that cannot be read, and counts them.
        window: letters that the network reads at once; chosen for the device if not given.
        overlap: letters that windows share, for a network without a finite receptive field.
        devices: how many GPUs, or on a CPU how many processes.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
        WorkError: the work stopped; it goes on with the same command.
    """
    out = Path(out)
    where = Engine(devices, engine, accelerator, precision)
    form = format_of(out)
    if form is None and out.suffix != ".parquet":
        raise InputError(f"out: {out} must end in .parquet, .gff3 or .bed")
    files = JobFiles.of(out, (data, regions, transitions, annotation))
    network = where.network(model)
    problem = _problem(network, model)
    if network.head_type == "pair":
        given = (form, regions, transitions, annotation, feature, circular, through_gaps)
        if any(given) or both_strands or grammar != "auto":
            raise InputError(
                "this model predicts contacts of proteins: name a .parquet file, and leave out "
                "regions, both_strands, and what is for features"
            )
        return predict_contacts(
            model, Path(data), network, files=files, choice=Choice.of(pairs, threshold),
            sequence=sequence, name=name, on_error=on_error, window=window, overlap=overlap,
            where=where,
        )  # fmt: skip
    if pairs is not None or threshold is not None:
        raise InputError("pairs, threshold: are for a model of contacts; leave them out")
    if form is not None:
        _check_features(network, model, on_error)
        if annotation is not None and form != "gff3":
            raise InputError(f"annotation: {out} must end in .gff3 to be compared with it")
        genes = GenesJob(
            model=model, genome=Path(data), labels=network.labels, form=form,
            compressed=out.suffix == ".gz", regions=None if regions is None else Path(regions),
            grammar=grammar, transitions=None if transitions is None else Path(transitions),
            both_strands=both_strands, window=window, overlap=overlap,
            circular=tuple(circular or ()), through_gaps=through_gaps,
        )  # fmt: skip
        if annotation is None and feature is not None:
            raise InputError("feature: is what an annotation is compared by; name one, or leave it")
        return _features(network, genes, files, where, annotation, feature)
    if grammar != "auto" or any((transitions, annotation, feature, circular, through_gaps)):
        raise InputError(
            "grammar, transitions, circular, through_gaps, annotation, feature: are for features; "
            "name a .gff3 or .bed file"
        )
    everywhere = network.head_type == "token"
    reading, source = Reading.of(
        data, network.alphabet, regions=regions, context=everywhere and regions is not None,
        sequence=sequence, name=name, on_error=on_error,
    )  # fmt: skip
    passes = Passes(network, None, both_strands, window, overlap, network.pools_cls)
    passes.check(source.longest(), context=reading.context)
    said = keyed.said_of(network, model, source, "predict") | {
        "problem": problem,
        "labels": ", ".join(network.labels),
        "strands": "both, averaged" if both_strands else "as read",
        "context": "genome" if reading.context else "none",
    }
    job = PredictJob(
        model=model, reading=reading, problem=problem, labels=network.labels,
        everywhere=everywhere, both_strands=both_strands, window=window, overlap=overlap,
        cut=everywhere and passes.cuts, said=tuple(said.items()),
    )  # fmt: skip
    skipped = say_skipped(job.verb, source)
    describe(job.verb, network, source.total)
    done = run(job, files, where, network)
    return Outcome(out, len(source), skipped, done)


def _problem(network: Network, model: str | Path) -> Problem:
    """What a model predicts.

    Raises:
        InputError: nothing.
    """
    if network.head_type == "language":
        letters = "`helicon track` (bases)" if network.alphabet == DNA else "`helicon mutants`"
        raise InputError(
            f"{model}: is a language model, which predicts nothing but hidden letters; fine-tune "
            f"it first, or use {letters} or `helicon embed` (features)"
        )
    if network.head_type == "bare":
        raise InputError(f"{model}: has no head; fine-tune it first, or use `helicon embed`")
    if network.problem is None:
        raise InputError(
            f"{model}: config.json does not say the problem_type; fine-tune with Helicon"
        )
    return network.problem


def _check_features(network: Network, model: str | Path, on_error: OnError) -> None:
    one_class = network.head_type == "token" and network.problem == "single_label"
    if not one_class or not network.alphabet.complements:
        raise InputError(
            f"out: features need a model that gives one class to every base, which {model} does "
            "not; name a .parquet file"
        )
    if on_error != "fail":
        raise InputError("on_error: a genome is read whole; leave it out")


def _features(
    network: Network,
    job: GenesJob,
    files: JobFiles,
    where: Engine,
    annotation: Path | None,
    feature: str | None,
) -> Outcome:
    """Decode a genome into features, and measure them if there is something to compare with."""
    genome = Genome.open(job.genome)
    stretches = merged_regions(job.regions, genome)
    # Wrong files are named now, not when all is computed.
    grammar = read_grammar(network.labels, genome, grammar=job.grammar, transitions=job.transitions)
    if grammar.codons is None and (job.circular or job.through_gaps):
        raise InputError("circular, through_gaps: are for the grammar genes; leave them out")
    if job.circular and job.regions is not None:
        raise InputError("circular: a circle is decoded whole; leave out regions")
    circular_contigs(job.circular, genome)
    Tiling.of(network, 1, window=job.window, overlap=job.overlap)
    compare = None
    if annotation is not None:
        compare = _compared(grammar, annotation, feature, genome, stretches)
    describe(job.verb, network, int(stretches.lengths.sum()))
    done = run(job, files, where, network)
    scores = None
    if annotation is not None and compare is not None:
        true, found = compare
        scores = score_gff(
            annotation,
            files.out,
            genome,
            feature=true,
            predicted_feature=found,
            regions=job.regions,
        )
    return Outcome(files.out, len(stretches), 0, done, scores)


def _compared(
    grammar: Grammar, annotation: Path, feature: str | None, genome: Genome, stretches: Intervals
) -> tuple[str, str]:
    """The type of features that an annotation is compared by, and the one that is predicted.

    Raises:
        InputError: nothing of the annotation can be compared with what the model predicts.
    """
    types = sorted({kind.type for kind in grammar.kinds if kind.written} - {"sequence_feature"})
    if not types:
        raise InputError(
            f"annotation: the model predicts {', '.join(k.name for k in grammar.kinds)}, which are "
            "no types of features; leave it out"
        )
    true = feature or types[0]
    found = true
    if true not in types:
        # Spliced classes are written as exons, whether they were learned from exons or from CDS.
        if types != ["exon"] or true != "CDS":
            raise InputError(f"feature: the model predicts {', '.join(types)}, not {true}")
        found = "exon"
    rows = read_gff(annotation, genome, true).rows
    if not measure_genes(rows, rows, stretches).nucleotide.annotated:
        raise InputError(
            f"{annotation}: has no {true!r} feature in the regions; nothing to compare"
        )
    return true, found


@dataclass(frozen=True)
class PredictJob:
    """Compute predictions for an input; for `engine.run`.

    Attributes:
        model: what `Network.open` takes.
        reading: the input.
        problem: what the model solves.
        labels: names of its outputs.
        everywhere: whether it predicts for every position.
        both_strands: average over the two strands.
        window: see `Tiling.of`.
        overlap: see there.
        cut: whether long rows may be cut in pieces.
        said: metadata of the output.
    """

    model: str | Path
    reading: Reading
    problem: Problem
    labels: tuple[str, ...]
    everywhere: bool
    both_strands: bool
    window: int | None
    overlap: int | None
    cut: bool
    said: tuple[tuple[str, str], ...]
    verb: str = "predict"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        names = ("both_strands", "window", "overlap")
        options = {name: getattr(self, name) for name in names}
        return options | self.reading.identity() | {"kind": ".parquet"}

    def total(self) -> int:
        """Letters of all rows."""
        return self.reading.open().total

    def shards(self) -> Iterator[Shard]:
        """Rows that follow each other, or pieces of long ones."""
        letters = keyed.letters_each(len(self.labels) if self.everywhere else None)
        for payload, size in self.reading.open().shards(letters, keyed.ROWS, cut=self.cut):
            yield Shard(payload, size)

    def worker(self, network: Network) -> Callable[[Payload], pa.Table]:
        """Keys and predictions of a shard."""
        source = self.reading.open()
        passes = Passes(
            network, None, self.both_strands, self.window, self.overlap, network.pools_cls
        )
        pooling = None if self.everywhere else in_pieces(network.model.classifier.pool)

        def work(payload: Payload) -> pa.Table:
            part = source.part(Payload(*payload))
            if pooling is None:
                table = self._table(keyed.every_position(part), passes.outputs(part))
            else:
                table = self._table(part.keys, passes.headed(part, pooling))
            source.let_go()
            return table

        return work

    def _table(self, keys: pa.Table, outputs: Values) -> pa.Table:
        """Rows of keys with what the outputs (n, K) say."""
        target = Target.plain(self.problem, self.labels)
        found = probabilities(target, outputs).astype(np.float32)
        columns = [np.ascontiguousarray(found[:, k]) for k in range(len(self.labels))]
        arrays = [*keys.columns, *map(pa.array, columns)]
        if self._classes:
            best = pa.array(outputs.argmax(axis=1))
            arrays.insert(keys.num_columns, pa.array(self.labels).take(best))
        return pa.table(arrays, schema=self._schema(keys.schema))

    @property
    def _classes(self) -> bool:
        """Whether rows have a column that names the class."""
        return self.problem == "single_label" and not self.everywhere

    def _schema(self, keys: pa.Schema) -> pa.Schema:
        kind = "prediction" if self.problem == "regression" else "probability"
        named = [pa.field("prediction", pa.string())] if self._classes else []
        numbers = [pa.field(f"{kind}/{label}", pa.float32()) for label in self.labels]
        return pa.schema([*keys, *named, *numbers])

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write all parts."""
        keys = self.reading.open().key_schema
        if self.everywhere:
            keys = keys.append(pa.field("position", pa.int64()))
        write_parquet(parts, aside, self._schema(keys), dict(self.said))
