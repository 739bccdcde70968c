"""Where a run computes: processes, devices, and the random numbers of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import FSDPStrategy, Strategy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from helicon.errors import InputError
from helicon.machine.precision import Precision, whole_float32

Made = TypeVar("Made")

#: Parameters above which a part of a network is sharded as a unit of its own.
_SHARD = 1_000_000


def start_processes(
    *, accelerator: str, devices: int, nodes: int, strategy: str, precision: str
) -> Fabric:
    """Start the processes of a run, or join those that torchrun or SLURM started.

    Without such a launcher, several devices start this program again, once for each device.

    Args:
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        devices: processes on each machine.
        nodes: machines.
        strategy: `auto`, `ddp` or `fsdp`.
        precision: `float32` or `bfloat16`.

    Raises:
        InputError: the machine has no such device, or not so many.
    """
    if strategy not in ("auto", "ddp", "fsdp"):
        raise InputError(f"strategy: {strategy!r} is not known; auto, ddp or fsdp")
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=_sharded() if strategy == "fsdp" else strategy,
            precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        )
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise InputError(
            f"devices: {devices} of {accelerator!r} cannot be used ({said})"
        ) from error
    whole_float32()
    fabric.launch()
    return fabric


def precision_of(fabric: Fabric) -> Precision:
    """The precision in which the processes of a run multiply matrices."""
    return "bfloat16" if fabric.strategy.precision.precision == "bf16-mixed" else "float32"


def _sharded() -> Strategy:
    return FSDPStrategy(
        auto_wrap_policy=partial(size_based_auto_wrap_policy, min_num_params=_SHARD)
    )


def seed_torch(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators from `(seed, step, rank)` alone."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0] >> np.uint64(1)))


def prefetch(
    make: Callable[[int], Made], numbers: Iterable[int], ahead: int = 4
) -> Generator[Made, None, None]:
    """Give `make(number)` of every number, in order, made ahead in a background thread."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[Future[Made]] = deque()
    try:
        for number in numbers:
            waiting.append(pool.submit(make, number))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
