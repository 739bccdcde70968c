"""Where a run computes: processes, devices, precision, and the random numbers of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import FSDPStrategy, Strategy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from helicon.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]
Made = TypeVar("Made")

#: Parameters above which a part of a network is sharded as a unit of its own.
_SHARD = 1_000_000


def resolve_precision(precision: str, accelerator: str = "auto") -> str:
    """Decide `auto`: bfloat16 where the hardware multiplies matrices in it, else float32.

    That is CUDA of capability 8 or more, and CPUs with AMX or AVX-512 BF16. Elsewhere bfloat16 is
    emulated, many times slower than float32.

    Args:
        precision: `auto`, `float32` or `bfloat16`.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: the precision is none of the three.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision: {precision!r} is not known; auto, float32 or bfloat16")
    if precision != "auto":
        return precision
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "float32"
    native = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


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
    fabric.launch()
    return fabric


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
