"""A tiny task for the tests of the loop, also a program that trains on it.

python toy_task.py FOLDER '{"steps": 40}' [--resume]
"""

import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn

from helicon.training.loop.fit import fit
from helicon.training.loop.settings import LoopSettings, launch
from helicon.training.run.folder import RunFolder


class ToyTask:
    """Say whether a base equals the one before it. The number of targets differs by batch."""

    monitor = "loss"
    mode = "min"

    def __init__(self, rows=4, break_at=None):
        self.rows = rows
        self.break_at = break_at

    def batch(self, step, micro, rank, world):
        rng = np.random.default_rng([step, micro, rank])
        ids = rng.integers(0, 4, (self.rows, 16), dtype=np.uint8)
        scored = rng.random(ids.shape) < rng.random()
        labels = (ids == np.roll(ids, 1, axis=1)).astype(np.float32)
        if step == self.break_at:
            labels[:] = np.nan
        return {"input_ids": ids, "labels": labels, "scored": scored.astype(np.float32)}

    def loss(self, model, batch):
        letters = nn.functional.one_hot(batch["input_ids"].long(), 4).float()
        logits = model(letters)
        each = nn.functional.binary_cross_entropy_with_logits(
            logits, batch["labels"], reduction="none"
        )
        return (each * batch["scored"]).sum(), batch["scored"].sum()

    def validate(self, model):
        arrays = ToyTask.batch(self, 10**6, 0, 0, 1)
        loss, weight = self.loss(model, {k: torch.from_numpy(v) for k, v in arrays.items()})
        return {"loss": float(loss / weight)}


class ToyModel(nn.Module):
    """A convolution, dropout, and a linear layer."""

    def __init__(self, dropout=0.1):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, 1)

    def forward(self, letters):
        hidden = self.conv(letters.transpose(1, 2)).transpose(1, 2).relu()
        return self.out(self.dropout(hidden)).squeeze(-1)


def settings(**options):
    return LoopSettings(**({"accelerator": "cpu", "precision": "float32"} | options))


def train(folder, *, resume=False, task=None, model=None, **options):
    """Train on the toy task; returns the model, the result and the run's rows."""
    chosen = settings(**options)
    model = model or ToyModel()
    fabric = launch(chosen)
    about = {"verb": "toy", "recipe": dict(options)}
    with RunFolder.open(folder, about, resume=resume, rank=fabric.global_rank) as run:
        result = fit(model, task or ToyTask(), chosen, run, fabric)
        return model, result, run.rows()


class SlowTask(ToyTask):
    """Takes its time, so that a test can kill it."""

    def batch(self, step, micro, rank, world):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        return super().batch(step, micro, rank, world)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[1], resume="--resume" in sys.argv, task=SlowTask(), **json.loads(sys.argv[2]))
