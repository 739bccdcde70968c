"""`helicon variants`: what a model says of the variants of a VCF."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from helicon.data.variants.vcf import OnError
from helicon.data.variants.writing import index_files, index_vcf
from helicon.errors import InputError
from helicon.inference.jobs.engine import Done, run
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.job import Engine
from helicon.inference.variants.alleles import NOTES, OnMismatch
from helicon.inference.variants.job import VariantsJob, VcfFormat
from helicon.inference.variants.scoring import Scoring
from helicon.machine.precision import Precision


@dataclass(frozen=True)
class VariantsResult:
    """What `variants` did.

    Attributes:
        out: the file of scores.
        index: its index, for a sorted `.vcf.gz`.
        records: of the output.
        alleles: alternative alleles of these.
        scored: alleles that have scores.
        notes: alleles by what is said of them, see `alleles.NOTES`.
        malformed: records that could not be read and were left out.
        done: shards, time and memory; `letters` counts records.
    """

    out: Path
    index: Path | None
    records: int
    alleles: int
    scored: int
    notes: dict[str, int]
    malformed: int
    done: Done

    @property
    def summary(self) -> str:
        """A few lines for a person."""
        rate = self.done.letters / max(self.done.seconds, 1e-9)
        lines = [
            f"{self.out}: {self.scored:,} of {self.alleles:,} alleles of {self.records:,} records "
            f"scored in {self.done.seconds:.1f} s on {self.done.device} ({rate:,.0f} records/s)"
        ]
        lines += [f"{note:<24}{n:,}  ({NOTES[note]})" for note, n in self.notes.items()]
        lines += [f"malformed, left out     {self.malformed:,}"] * bool(self.malformed)
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "done"}
        done = {f.name: getattr(self.done, f.name) for f in fields(self.done)}
        own["index"] = None if self.index is None else str(self.index)
        return done | own | {"out": str(self.out)}


def variants(
    model: str,
    vcf: Path,
    *,
    reference: Path,
    out: Path,
    score: list[str] | None = None,
    both_strands: bool = True,
    window: int | None = None,
    window_step: int = 1,
    mask_every: int | None = None,
    haplotypes: bool = False,
    sample: str | None = None,
    on_mismatch: OnMismatch = "fail",
    on_error: OnError = "fail",
    devices: int = 1,
    engine: Literal["local", "ray"] = "local",
    accelerator: str = "auto",
    precision: Precision = "float32",
) -> VariantsResult:
    """Score the variants of a VCF or BCF.

    Every record goes to the output, in order, with its own chromosome name. Alleles without a score
    say why in the field `HELICON_NOTE` (column `note` of Parquet).

    Args:
        model: a run folder, a model folder, or a Hugging Face id.
        vcf: VCF (plain, gzip or bgzip) or BCF file.
        reference: FASTA file of the genome that the variants were called on.
        out: `.vcf`, `.vcf.gz` (bgzip, indexed if sorted) or `.parquet` file.
        score: language models: `llr` (the log-likelihood ratio) and `pseudo-likelihood`; heads:
            `head`, the change of each output; all: `euclidean` and `cosine`, distances of mean
            features. Repeat it for several; `llr`, `head` or `euclidean` if not given.
        both_strands: average over the two strands.
        window: letters of a window, centred on the variant, that the network sees alone. If not
            given, the whole chromosome for models with a finite receptive field, 1,024 letters for
            others and for heads that give one output a sequence.
        window_step: windows begin at multiples of it, so that neighbouring variants share one.
        mask_every: pseudo-likelihood, and llr of insertions and deletions: hide every so many-th
            base at once; 10 if not given.
        haplotypes: score each allele that a sample carries on its haplotype, where the other
            alleles of the haplotype stand too.
        sample: whose haplotypes; may be left out if the file has one sample.
        on_mismatch: where REF differs from the genome: `fail`, `skip` the record, or `swap` REF and
            ALT where the genome has ALT.
        on_error: what to do with malformed records, and those on chromosomes that the genome has
            not: `fail`, or `skip` and count them.
        devices: how many GPUs, or on a CPU how many processes.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).

    Raises:
        InputError: a file, a record or an option is wrong, or does not fit the model.
    """
    where = Engine(devices, engine, accelerator, precision)
    form = _format(out)
    files = JobFiles.of(out, (vcf, reference), stale=index_files(Path(out)))
    network = where.network(model)
    if sample is not None and not haplotypes:
        raise InputError("sample: is of use with haplotypes only; ask for these, or leave it out")
    scoring = Scoring.of(
        network, score, both_strands=both_strands, window=window, window_step=window_step,
        mask_every=mask_every,
    )  # fmt: skip
    job = VariantsJob(
        model=model, vcf=Path(vcf), reference=Path(reference), form=form, scoring=scoring,
        columns=tuple(scoring.columns(network)), digest=network.digest,
        distance=scoring.distance(network), haplotypes=haplotypes, sample=sample,
        on_mismatch=on_mismatch, on_error=on_error,
    )  # fmt: skip
    survey = job.survey()
    if survey.malformed:
        said = f"variants: {survey.malformed:,} malformed records left out; {survey.first}"
        print(said, file=sys.stderr)
    job = replace(job, records=survey.records, undefined=survey.undefined)
    done = run(job, files, where, network)
    indexed = form == "vcf.gz" and survey.sorted
    return VariantsResult(
        out=Path(out),
        index=index_vcf(Path(out), survey.last) if indexed else None,
        records=survey.records,
        alleles=survey.alleles,
        scored=survey.scored,
        notes=dict(survey.notes.most_common()),
        malformed=survey.malformed,
        done=done,
    )


def _format(out: str | Path) -> VcfFormat:
    name = Path(out).name.lower()
    for form in ("vcf", "vcf.gz", "parquet"):
        if name.endswith(f".{form}"):
            return form
    advice = "; `bcftools view -Ob` makes BCF of .vcf.gz" * name.endswith(".bcf")
    raise InputError(f"{out}: the output should end in .vcf, .vcf.gz or .parquet{advice}")
