"""CARP checkpoints in the authors' layout, written from the fixture's weights."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

FIXTURE = Path(__file__).parents[1] / "fixtures" / "carp_small_relu_fat.safetensors"

Checkpoint = dict[str, Any]
Tensors = dict[str, torch.Tensor]


def published() -> tuple[Checkpoint, Tensors]:
    """The fixture's network as its authors publish theirs, and the fixture's tensors."""
    tensors = load_file(FIXTURE)
    with safe_open(FIXTURE, "pt") as handle:
        said = {key: json.loads(value) for key, value in handle.metadata().items()}
    names = ("d_embed", "d_model", "n_layers", "kernel_size", "activation", "slim", "r")
    state = {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}
    settings = {name: said[name] for name in names}
    return {"model": "carp_custom", **settings, "model_state_dict": state}, tensors


def real(tensors: Tensors) -> torch.Tensor:
    """Mask of the fixture's real positions (B, L)."""
    with safe_open(FIXTURE, "pt") as handle:
        lengths = json.loads(handle.metadata()["lengths"])
    return torch.arange(tensors["input_ids"].shape[1]) < torch.tensor(lengths)[:, None]


def written(checkpoint: object, folder: Path) -> Path:
    """Write a checkpoint file."""
    path = folder / "carp.pt"
    torch.save(checkpoint, path)
    return path


def agree(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether values are equal to 1e-5 of the largest."""
    return bool((got - wanted).abs().max() <= 1e-5 * wanted.abs().max())
