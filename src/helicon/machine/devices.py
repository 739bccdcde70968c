"""Where a run computes: processes, devices, and the random numbers of each."""

from __future__ import annotations

import os
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
#: Variables of launchers whose processes are joined.
_LAUNCHERS = ("SLURM_NTASKS", "LSB_DJOB_RANKFILE", "LSB_JOBID", "TORCHELASTIC_RUN_ID")


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
    if accelerator not in ("auto", "cpu", "cuda", "mps"):
        raise InputError(f"accelerator: {accelerator!r} is not known; auto, cpu, cuda or mps")
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
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        if launcher := _launcher():
            raise InputError(
                f"{launcher} is set in the environment, but {devices} devices on {nodes} nodes "
                f"were asked for ({said}); start with the launcher and its numbers of --devices "
                f"and --nodes, or remove the variable: unset {launcher}"
            ) from error
        raise InputError(
            f"devices: {devices} of {accelerator!r} cannot be used ({said})"
        ) from error
    whole_float32()
    fabric.launch()
    return fabric


def _launcher() -> str | None:
    """The variable by which the environment says that a cluster's launcher started this."""
    return next((name for name in _LAUNCHERS if name in os.environ), None)


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
