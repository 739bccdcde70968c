"""The engine under all verbs: shards in, one output out, on one device, several, or a cluster.

A job cuts its input in shards whose results depend on the shard alone. Each result is kept as a
part (`parts.py`) as soon as it is there; when all are, the job makes its output of them, in order.
So the output is the same, byte by byte, however the shards were dealt out and however often the
work was stopped; memory is bounded by what one shard takes on each device.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from helicon.errors import InputError
from helicon.files import write_aside
from helicon.forward.network import Network
from helicon.inference.jobs import processes
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.job import Engine, Job, Shard
from helicon.inference.jobs.parts import Parts
from helicon.machine.progress import Progress
from helicon.machine.provenance import peak_memory_mb
from helicon.machine.stopping import told_to_stop


@dataclass(frozen=True)
class Done:
    """What a job did.

    Attributes:
        out: the output.
        shards: in all.
        resumed: of these, found finished from an earlier start.
        letters: that this start worked on.
        seconds: that this start took.
        device: on which.
        peak_memory_mb: largest resident memory of the first process; `None` on Windows.
    """

    out: Path
    shards: int
    resumed: int
    letters: int
    seconds: float
    device: str
    peak_memory_mb: float | None

    @property
    def summary(self) -> str:
        """One line for a person."""
        again = f", {self.resumed} of them found finished" if self.resumed else ""
        peak = self.peak_memory_mb
        memory = "" if peak is None else f"; peak memory {peak:,.0f} MiB"
        return (
            f"{self.out}: {self.letters:,} letters in {self.seconds:.1f} s on {self.device} "
            f"({self.shards} shards{again}{memory})"
        )


def run(
    job: Job, files: JobFiles | str | Path, engine: Engine, network: Network | None = None
) -> Done:
    """Do a job, or what is left of it.

    Args:
        job: the job.
        files: its output and what it reads, or the output of a job that reads nothing;
            `OUT.parts` beside the output holds finished parts until the output stands.
        engine: where to compute.
        network: the job's model, if it is open already.

    Raises:
        InputError: of the job; or `OUT.parts` holds another job's parts; or a file that is read
            changed meanwhile.
        WorkError: a process died, the disk is full, or SIGTERM came. Finished parts stay.
    """
    files = files if isinstance(files, JobFiles) else JobFiles.of(files)
    out, began = files.out, time.monotonic()
    said = f"{out}: stopped by SIGTERM; what is finished is kept: start again with the same command"
    with told_to_stop(said), _noticing(files):
        network = network or engine.network(job.model)
        with Parts.open(out, _identity(job, network)) as parts:
            found = parts.done()
            with Progress(job.verb, job.total()) as progress:
                tally = _Tally(progress, job.unit)
                for size in _results(job, engine, network, parts, tally):
                    tally.add(size)
            shards = len(found) + tally.shards
            with write_aside(out) as aside:
                job.assemble(parts.read(shards), aside)
                files.check()
                files.make_room()
            parts.remove()
    return Done(
        out=out,
        shards=shards,
        resumed=len(found),
        letters=tally.letters,
        seconds=time.monotonic() - began,
        device=f"{engine.devices} x {network.device.type}" + " (ray)" * (engine.engine == "ray"),
        peak_memory_mb=peak_memory_mb(),
    )


@contextlib.contextmanager
def _noticing(files: JobFiles) -> Iterator[None]:
    """Say of an error that a file which changed while it was read is the cause."""
    try:
        yield
    except Exception as error:
        try:
            files.check()
        except InputError as said:
            raise said from error
        raise


def _identity(job: Job, network: Network) -> dict[str, Any]:
    return {
        "verb": job.verb,
        "helicon": version("helicon"),
        "model": network.digest,
        "precision": network.precision,
        "device": network.device.type,
        **job.identity(),
    }


class _Tally:
    """Counts what this start computed, and keeps the progress bar."""

    def __init__(self, progress: Progress, unit: str):
        self.progress, self.unit = progress, unit
        self.shards = self.letters = self.skipped = 0
        self._began = time.monotonic()

    def skip(self, size: int) -> None:
        """Note a shard that an earlier start finished."""
        self.skipped += size

    def add(self, size: int) -> None:
        """Note a shard that is finished now."""
        self.shards += 1
        self.letters += size
        self.progress.rate(self.letters / max(time.monotonic() - self._began, 1e-9), self.unit)
        self.progress.step(self.skipped + self.letters)


def _results(
    job: Job, engine: Engine, network: Network, parts: Parts, tally: _Tally
) -> Iterator[int]:
    """Compute every shard that is not finished; give its size when its part is kept."""
    found = parts.done()

    def unfinished() -> Iterator[tuple[int, Shard]]:
        for number, shard in enumerate(job.shards()):
            if number in found:
                tally.skip(shard.size)
            else:
                yield number, shard

    if engine.engine == "ray":
        from helicon.inference.jobs import ray_cluster

        yield from ray_cluster.compute(job, engine, parts, found)
    elif engine.devices > 1:
        yield from processes.compute(job, engine, parts, unfinished())
    else:
        worker = job.worker(network)
        for number, shard in unfinished():
            parts.write(number, worker(shard.payload))
            yield shard.size


def write_parquet(
    parts: Iterator[pa.Table], path: Path, schema: pa.Schema, metadata: dict[str, str]
) -> int:
    """Write tables to one Parquet file, a row group each.

    Args:
        parts: tables of one schema.
        path: the file.
        schema: of the tables, for a file without rows.
        metadata: kept in the file's schema.

    Returns:
        Rows written.
    """
    rows = 0
    kept = schema.with_metadata(metadata)
    with pq.ParquetWriter(path, kept, compression="zstd") as writer:
        for table in parts:
            writer.write_table(table.cast(kept))
            rows += len(table)
    return rows
