"""A job without a verb, for the tests of the engine: importable by other processes."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from helicon.errors import InputError
from helicon.forward.network import Network
from helicon.inference.jobs.engine import write_parquet
from helicon.inference.jobs.job import Shard, Worker

SCHEMA = pa.schema({"number": pa.int64(), "value": pa.float32()})


@dataclass(frozen=True)
class CountingJob:
    """For each shard the sum of some logits; leaves a file for each shard that is computed."""

    model: str
    traces: Path
    count: int = 12
    seconds: float = 0.0
    option: int = 0
    wrong: int = -1
    unreadable: int = -1
    verb: str = "count"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        return {"count": self.count, "option": self.option}

    def total(self) -> int | None:
        return None

    def shards(self) -> Iterator[Shard]:
        for number in range(self.count):
            if number == self.unreadable:
                raise InputError("input.fa, line 7: is unreadable; mend it")
            yield Shard(number, 100)

    def worker(self, network: Network) -> Worker:
        def work(number: int) -> pa.Table:
            if number == self.wrong:
                raise InputError(f"record {number}: is wrong; mend it")
            if self.verb == "die":
                os._exit(9)
            time.sleep(self.seconds)
            ids = np.random.default_rng(number).integers(0, 4, (2, 50)).astype(np.uint8)
            values = network.logits(ids)[..., 0].ravel()
            (self.traces / f"{number}.{os.getpid()}.{time.time_ns()}").touch()
            return pa.table({"number": [number] * 100, "value": values}, schema=SCHEMA)

        return work

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        write_parquet(parts, aside, SCHEMA, {"job": self.verb})


if __name__ == "__main__":
    import sys

    from helicon.inference.jobs.engine import run
    from helicon.inference.jobs.job import Engine

    model, traces, out, devices = sys.argv[1:]
    run(CountingJob(model, Path(traces), seconds=0.15), out, Engine(devices=int(devices)))
