"""Many machines: shards as a Ray data set, and workers that each hold the model.

The extra `ray` installs it. A cluster that runs is joined (`RAY_ADDRESS`), else one is started on
this machine. Files that a job reads must be at the same paths on every machine; finished parts
come back to the machine that started the job.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import torch

from helicon.errors import InputError, WorkError
from helicon.forward.network import find_device
from helicon.inference.jobs.job import Engine, Job, cores_each
from helicon.inference.jobs.parts import Parts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.data.block import BlockMetadata
        from ray.data.datasource import Datasource, ReadTask
    except ImportError as error:
        raise InputError("engine: Ray is not installed; pip install 'helicon[ray]'") from error


def compute(job: Job, engine: Engine, parts: Parts, found: set[int]) -> Iterator[int]:
    """Compute shards with `engine.devices` workers.

    Args:
        job: the job.
        engine: how many workers, on which accelerator.
        parts: where finished parts go.
        found: numbers of shards that are finished.

    Yields:
        Size of each shard whose part is written, in no order.

    Raises:
        WorkError: a worker died.
    """
    gpu = find_device(engine.accelerator).type == "cuda"
    with quiet(), cluster():
        rows = (
            ray.data.read_datasource(
                _Shards(job, found), override_num_blocks=1, ray_remote_args={"num_cpus": 0}
            )
            .map_batches(
                _Worker,
                batch_size=1,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=engine.devices),
                num_cpus=0 if gpu else 1,
                num_gpus=1 if gpu else 0,
                fn_constructor_args=(job, engine, cores_each(engine)),
            )
            .iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=1)
        )
        try:
            for row in rows:
                answer = pickle.loads(row["result"][0].as_py())  # made by `_Worker` below
                if isinstance(answer, Exception):
                    raise answer
                parts.write(row["number"][0].as_py(), answer)
                yield row["size"][0].as_py()
        except ray.exceptions.RayError as error:
            said = str(error).splitlines()[0]
            raise WorkError(
                f"{job.verb}: a Ray worker failed ({said}); what is finished is kept: start again "
                "with the same command"
            ) from error


class _Shards(Datasource):
    """The unfinished shards, one row and one block each, as they are cut."""

    def __init__(self, job: Job, found: set[int]):
        super().__init__()
        self.job, self.found = job, found

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known: shards are cut while they are read."""
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task that cuts all shards, in order."""
        job, found = self.job, self.found

        def read() -> Iterator[pa.Table]:
            try:
                for number, shard in enumerate(job.shards()):
                    if number not in found:
                        yield _row(number, shard.size, shard.payload)
            except Exception as error:
                yield _row(-1, 0, error)

        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(read, unknown)]


def _row(number: int, size: int, payload: Any) -> pa.Table:
    packed = pa.array([pickle.dumps(payload)], pa.large_binary())
    return pa.table({"number": [number], "size": [size], "payload": packed})


class _Worker:
    """A model on one device of the cluster."""

    def __init__(self, job: Job, engine: Engine, threads: int):
        torch.set_num_threads(threads)
        self.work = job.worker(engine.network(job.model))

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Compute the one shard in `rows`; an error is an answer too, not a reason to try again."""
        answer: pa.Table | Exception
        try:
            payload = pickle.loads(rows["payload"][0].as_py())
            answer = payload if isinstance(payload, Exception) else self.work(payload)
        except Exception as error:
            answer = error
        kept = rows.select(["number", "size"])
        return kept.append_column("result", pa.array([pickle.dumps(answer)], pa.large_binary()))


@contextlib.contextmanager
def cluster(cpus: int | None = None) -> Iterator[None]:
    """Join a cluster, or start one here and stop it at the end.

    Args:
        cpus: of a cluster that is started; those of the machine if not given.
    """
    started = not ray.is_initialized()
    if started:
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    context = DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    # Each shard a block of its own, so that workers begin with the first one.
    context.target_max_block_size, context.enable_progress_bars = 1, False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        context.target_max_block_size, context.enable_progress_bars = before
        if started:
            ray.shutdown()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Our own progress and our own errors are enough."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
