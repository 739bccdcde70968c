"""What a job is: shards of an input, what computes one, and where it is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import torch

from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.machine.precision import Precision

Worker = Callable[[Any], pa.Table]


@dataclass(frozen=True)
class Engine:
    """Where a job computes. It never changes the result.

    Attributes:
        devices: how many GPUs, or on a CPU how many processes that share its cores.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products, `float32` or `bfloat16`. (This does change the result, and
            is part of a job's identity.)
    """

    devices: int = 1
    engine: Literal["local", "ray"] = "local"
    accelerator: str = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise InputError(f"devices: must be at least 1, not {self.devices}")
        if self.engine not in ("local", "ray"):
            raise InputError(f"engine: {self.engine!r} is not known; local or ray")

    def network(self, model: str | Path, index: int = 0) -> Network:
        """Open the model on one of the devices."""
        return Network.open(
            model, accelerator=self.accelerator, index=index, precision=self.precision
        )


@dataclass(frozen=True)
class Shard:
    """A part of a job's input.

    Attributes:
        payload: what a worker needs to know; small, picklable.
        size: letters (or records) in it, for the progress bar.
    """

    payload: Any
    size: int


class Job(Protocol):
    """What a verb computes.

    Jobs are sent to other processes: they are frozen dataclasses of plain values.
    """

    @property
    def verb(self) -> str:
        """Name of the verb."""

    @property
    def unit(self) -> str:
        """What the sizes of shards count: `letters` or `records`."""

    @property
    def model(self) -> str | Path:
        """What `Network.open` takes."""

    def identity(self) -> dict[str, Any]:
        """All options and hashes of inputs that decide the output, as JSON values."""

    def total(self) -> int | None:
        """Letters (or records) of all shards; `None` where that is not known beforehand."""

    def shards(self) -> Iterator[Shard]:
        """The shards in order, the same each time; the input is streamed."""

    def worker(self, network: Network) -> Worker:
        """What turns a payload into a table; called once in each process."""

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write the output to `aside` from all tables, in the order of the shards."""


def cores_each(engine: Engine) -> int:
    """Threads of each process, so that all together use the cores once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, torch.get_num_threads()) // engine.devices)
