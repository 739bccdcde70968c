"""Checkpoints: all that a run needs to go on, in folders that are whole or absent.

    step-00000100/
        model.safetensors       parameters and buffers by name
        optimizer.safetensors   the optimiser's state, as "<parameter>/<field>"
        state.json              the loop's state

No pickle anywhere. Weights are gathered whole, so a run may go on with another number of devices.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from helicon.errors import WorkError
from helicon.files import write_aside

_WHOLE = StateDictOptions(full_state_dict=True)


@dataclass(frozen=True)
class Weights:
    """Parameters, buffers and optimiser state of one moment, gathered on the CPU."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def gather(model: nn.Module, optimizer: torch.optim.Optimizer) -> Weights:
    """Collect the weights of a model that may be replicated or sharded (all processes call it)."""
    weights: dict[str, Any] = get_model_state_dict(model, options=_WHOLE)
    whole: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=_WHOLE)
    fields = [(name, key, v) for name, of in whole["state"].items() for key, v in of.items()]
    return Weights(
        {name: value.cpu().contiguous() for name, value in weights.items()},
        {f"{name}/{key}": value.cpu().contiguous() for name, key, value in fields},
    )


def spread(weights: Weights, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put gathered weights back into a model and its optimiser (all processes call it)."""
    state: dict[str, Any] = {}
    for key, value in weights.optimizer.items():
        name, _, field = key.rpartition("/")
        state.setdefault(name, {})[field] = value
    own: dict[str, Any] = get_optimizer_state_dict(model, optimizer)
    set_optimizer_state_dict(model, optimizer, own | {"state": state}, options=_WHOLE)
    set_model_state_dict(model, dict(weights.model), options=_WHOLE)


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
        folder: where they stand.
        keep: how many of the last are kept, besides the best.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder = folder
        self.keep = keep

    def path(self, step: int) -> Path:
        """Folder of the checkpoint after a step."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of which a checkpoint stands, in order."""
        return sorted(int(p.name.removeprefix("step-")) for p in self.folder.glob("step-*"))

    def clean(self) -> None:
        """Remove what a killed process left half written or half removed."""
        for pattern in (".step-*.tmp", ".step-*.old"):
            for left in self.folder.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)

    def save(self, step: int, weights: Weights, state: dict[str, Any], best: int | None) -> None:
        """Write the checkpoint of a step, then remove all but the last ones and the best.

        Raises:
            WorkError: the disk is full; the checkpoints from before stand.
        """
        with write_aside(self.path(step)) as aside:
            aside.mkdir()
            save_file(weights.model, aside / "model.safetensors")
            save_file(weights.optimizer, aside / "optimizer.safetensors")
            (aside / "state.json").write_text(json.dumps(state, indent=2) + "\n")
        kept = {*self.steps()[-self.keep :], best}
        for old in self.steps():
            if old not in kept:
                self.remove(old)

    def remove(self, step: int) -> None:
        """Remove a checkpoint.

        Rename, then delete: a kill in between leaves no half checkpoint under a true name.
        """
        aside = self.folder / f".{self.path(step).name}.old"
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.path(step).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def load(self, step: int) -> tuple[Weights, dict[str, Any]]:
        """Read the checkpoint of a step.

        Raises:
            WorkError: it is damaged.
        """
        path = self.path(step)
        try:
            weights = Weights(
                load_file(path / "model.safetensors"), load_file(path / "optimizer.safetensors")
            )
            return weights, json.loads((path / "state.json").read_text())
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise WorkError(
                f"{path}: the checkpoint is damaged; remove this folder and resume from the one "
                "before it"
            ) from error

    def load_model(self, step: int) -> dict[str, Tensor]:
        """Parameters and buffers alone of a checkpoint, by name."""
        return load_file(self.path(step) / "model.safetensors")
