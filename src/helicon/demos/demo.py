"""The main job of each system: what a newcomer runs first."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from helicon.demos import main_job, protein_job
from helicon.demos.main_job import DemoResult
from helicon.demos.protein_job import ProteinDemoResult
from helicon.demos.systems import SYSTEMS
from helicon.errors import InputError

#: The folder of each system's job, where none is given.
_FOLDERS = {"convnova": "demo", "findna": "demo-findna", "carp": "demo-carp"}


def demo(
    system: Literal["convnova", "findna", "carp"] = "convnova",
    *,
    out: str | Path | None = None,
    minutes: float = 5.5,
    seeds: int = 3,
    seed: int = 0,
) -> DemoResult | ProteinDemoResult:
    """Run a main job on the embedded E. coli genome: pretrain, fine-tune, compare, report.

    ConvNova: a small network learns to predict hidden bases on the training blocks of the genome.
    Then it learns, from 100 windows of 512 annotated bases, which bases lie between genes, in a
    gene on the forward strand, or in one on the reverse strand.

    FinDNA: the same, but a small ChordMixer learns it by self-distillation: a student predicts the
    hidden bases of its view, and what a teacher makes of another one. Linear probes of the teacher
    and of an untrained network stand beside.

    CARP: a small ByteNet learns to predict hidden residues of the genome's proteins. Then it
    learns to tell from a protein alone how well its gene is adapted to the codons that abundant
    proteins prefer (the codon adaptation index).

    The same network learns the same from random weights, and both are measured on blocks, or
    clusters of proteins, that neither has seen. A job that was stopped goes on where it was.

    Args:
        system: which of the systems to show.
        out: the folder to write; if not given `demo`, for FinDNA `demo-findna`, for CARP
            `demo-carp`.
        minutes: time to spend in all. It becomes numbers of steps, which are recorded; a slower
            machine takes fewer.
        seeds: runs of fine-tuning for each of the two ways to start.
        seed: of every random choice; the runs have this seed and those that follow.

    Returns:
        Where the report and the model are, and everything that was measured.

    Raises:
        InputError: an argument is wrong, or `out` holds something else.
        WorkError: a loss is not finite, or the disk is full.
    """
    if system not in _FOLDERS:
        raise InputError(f"system: {system!r} is unknown; this version shows {', '.join(_FOLDERS)}")
    if seeds < 1 or minutes <= 0:
        raise InputError("seeds and minutes must be more than 0")
    folder = Path(out or _FOLDERS[system])
    if system == "carp":
        return protein_job.run(folder, minutes=minutes, seeds=seeds, seed=seed)
    return main_job.run(folder, system=SYSTEMS[system], minutes=minutes, seeds=seeds, seed=seed)
