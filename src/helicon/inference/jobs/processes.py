"""Several devices of one machine: a process each, which take shards as they become free."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import torch

from helicon.errors import WorkError
from helicon.inference.jobs.job import Engine, Job, Shard, Worker, cores_each
from helicon.inference.jobs.parts import Parts

#: Shards that wait for each process, so that none is idle.
_AHEAD = 2

_worker: Worker
_parts: Parts


def compute(
    job: Job, engine: Engine, parts: Parts, shards: Iterator[tuple[int, Shard]]
) -> Iterator[int]:
    """Compute shards in `engine.devices` processes.

    Yields:
        Size of each shard whose part is written, in no order.

    Raises:
        WorkError: a process died.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    taken = context.Value("i", 0)
    pool = ProcessPoolExecutor(
        engine.devices,
        mp_context=context,
        initializer=_start,
        initargs=(job, engine, parts, taken, cores_each(engine)),
    )
    waiting: dict[Future[None], int] = {}
    try:
        for number, shard in shards:
            waiting[pool.submit(_compute, number, shard.payload)] = shard.size
            while len(waiting) >= _AHEAD * engine.devices:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    except BrokenProcessPool as error:
        raise WorkError(
            f"{job.verb}: a process died (out of memory, or killed); what is finished is kept: "
            "start again with the same command, or with fewer devices"
        ) from error
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(waiting: dict[Future[None], int]) -> Iterator[int]:
    """Wait for a shard; give those that are there."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        yield waiting.pop(future)


def _start(job: Job, engine: Engine, parts: Parts, taken: Synchronized[Any], threads: int) -> None:
    """Open the model in a new process, on the next device."""
    global _worker, _parts
    threading.Thread(target=_follow, daemon=True).start()
    with taken.get_lock():
        index = taken.value
        taken.value += 1
    torch.set_num_threads(threads)
    _worker, _parts = job.worker(engine.network(job.model, index)), parts


def _follow() -> None:
    """End with the process that started this one, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _compute(number: int, payload: Any) -> None:
    _parts.write(number, _worker(payload))
