"""FinDNA checkpoints in the authors' layout, written from the fixture's weights."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from helicon.alphabet import DNA

FIXTURE = Path(__file__).parents[1] / "fixtures" / "findna_g4_h64.safetensors"

Checkpoint = dict[str, Any]
Tensors = dict[str, torch.Tensor]

#: Place of each of our letters among the published columns A, C, G, N, T.
OURS = ["ACGNT".index(letter) for letter in DNA.letters]


def published() -> tuple[Checkpoint, Tensors]:
    """The fixture's network as the authors publish theirs, and the fixture's tensors.

    The fixture is the teacher; the student has other weights.
    """
    tensors = load_file(FIXTURE)
    teacher = {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}
    generator = torch.Generator().manual_seed(0)
    student = {k: v + 0.1 * torch.randn(v.shape, generator=generator) for k, v in teacher.items()}
    return {"Teacher": teacher, "Student": student, "EPOCHS_RUN": 29}, tensors


def written(checkpoint: object, folder: Path) -> Path:
    """Write a checkpoint file."""
    path = folder / "model_29.pt"
    torch.save(checkpoint, path)
    return path


def agree(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether values are equal to 1e-5 of the largest."""
    return bool((got - wanted).abs().max() <= 1e-5 * wanted.abs().max())
