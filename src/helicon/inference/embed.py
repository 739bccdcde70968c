"""`helicon embed`: features of sequences, regions or positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import torch

from helicon.data.tables.store import OnError
from helicon.errors import InputError
from helicon.forward.memory import describe
from helicon.forward.network import Network
from helicon.forward.pooling import PoolingInPieces, State, in_pieces
from helicon.inference.jobs import keyed
from helicon.inference.jobs.engine import run, write_parquet
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.inputs import Part, Payload, Reading, say_skipped
from helicon.inference.jobs.job import Engine, Shard
from helicon.inference.jobs.keyed import Number, Outcome
from helicon.inference.jobs.passes import Passes, Values
from helicon.machine.precision import Precision
from helicon.models.hub import NetworkName, check_cls, network_folder
from helicon.models.parts.heads import AttentionPool, pooling

PoolName = Literal["mean", "max", "attention", "cls", "none"]


def embed(
    model: str,
    data: Path,
    *,
    out: Path,
    network: NetworkName | None = None,
    regions: Path | None = None,
    context: bool = False,
    layer: int | None = None,
    pool: PoolName = "mean",
    both_strands: bool = False,
    dtype: Number = "float32",
    sequence: str | None = None,
    name: str | None = None,
    on_error: OnError = "fail",
    window: int | None = None,
    overlap: int | None = None,
    devices: int = 1,
    engine: Literal["local", "ray"] = "local",
    accelerator: str = "auto",
    precision: Precision = "float32",
) -> Outcome:
    """Write the features that a model has of sequences, of regions of a genome, or of positions.

    Args:
        model: a named size, a run folder, a model folder, or a Hugging Face id.
        data: sequences as FASTA, CSV, TSV or Parquet; with regions, a genome as FASTA.
        out: `.parquet` file; or `.npy` file, beside which `.rows.parquet` names the rows.
        network: of a self-distilled run: its `teacher` (which is taken if not given), or `student`.
        regions: BED file of regions of the genome; those on the strand `-` are read as reverse
            complement.
        context: let the model see the genome around each region; without, a region is read as a
            sequence of its own.
        layer: take the features after so many layers (0: before the first); the model's output if
            not given.
        pool: one vector a sequence, `mean` or `max` over its positions, `attention` as the head of
            a fine-tuned model weighs them, or `cls`, the mean over the CLS tokens that the model
            was pretrained with; or `none` for one a position.
        both_strands: average the vectors of both strands.
        dtype: numbers to write, `float32` or `float16`.
        sequence: column of sequences of a table; `sequence` if not given.
        name: column of names of a table; `name` or `id` if not given, or else rows are numbered.
        on_error: `skip` leaves out sequences that cannot be read, and counts them.
        window: letters that the network reads at once; chosen for the device if not given.
        overlap: letters that windows share, for a network without a finite receptive field.
        devices: how many GPUs, or on a CPU how many processes.
        engine: `local`, or `ray` for a Ray cluster.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.
        precision: of matrix products: `float32`, or `bfloat16`, which is faster on some hardware
            and gives other numbers (features differ by a hundredth).

    Raises:
        InputError: a file or an option is wrong, or does not fit the model.
        WorkError: the work stopped; it goes on with the same command.
    """
    out = Path(out)
    where = Engine(devices, engine, accelerator, precision)
    _check(out, dtype)
    beside = [keyed.keys_of(out)] if out.suffix == ".npy" else []
    files = JobFiles.of(out, (data, regions), beside=beside)
    folder = network_folder(model, network)
    opened = where.network(folder)
    _pooling(opened, model, pool)
    reading, source = Reading.of(
        data, opened.alphabet, regions=regions, context=context,
        sequence=sequence, name=name, on_error=on_error,
    )  # fmt: skip
    passes = Passes(opened, layer, both_strands, window, overlap, pool == "cls")
    passes.check(source.longest(), context=context)
    said = keyed.said_of(opened, model, source, "embed") | {
        "layer": "output" if layer is None else str(layer),
        "pool": pool,
        "strands": "both, averaged" if both_strands else "as read",
        "context": "genome" if context else "none",
        "window": "as fits" if window is None else str(window),
        "overlap": "of the receptive field" if overlap is None else str(overlap),
        **({} if network is None else {"network": network}),
    }
    job = EmbedJob(
        model=folder, reading=reading, out=out, layer=layer, pool=pool, both_strands=both_strands,
        number=dtype, window=window, overlap=overlap, width=opened.d_model,
        cut=passes.cuts, said=tuple(said.items()),
    )  # fmt: skip
    skipped = say_skipped(job.verb, source)
    describe(job.verb, opened, source.total)
    done = run(job, files, where, opened)
    return Outcome(out, len(source), skipped, done)


def _check(out: Path, dtype: str) -> None:
    if out.suffix not in (".parquet", ".npy"):
        raise InputError(f"out: {out} must end in .parquet or .npy")
    if dtype not in get_args(Number):
        raise InputError(f"dtype: {dtype!r} is not known; float32 or float16")


def _pooling(network: Network, model: str | Path, pool: PoolName) -> PoolingInPieces | None:
    """The pooling of a name; `None` for none.

    Raises:
        InputError: there is none of that name, or the model has none of its own.
    """
    if pool not in get_args(PoolName):
        raise InputError(f"pool: {pool!r} is not known; {', '.join(get_args(PoolName))}")
    if pool == "attention":
        own = getattr(getattr(network.model, "classifier", None), "pool", None)
        if not isinstance(own, AttentionPool):
            raise InputError(
                f"pool: {model} has no attention pooling (a model fine-tuned with "
                "--pool attention has); choose mean, max or none"
            )
        return in_pieces(own)
    if pool == "cls":
        check_cls(network.model.config.cls_tokens)
    return None if pool == "none" else in_pieces(pooling(pool, network.d_model))


@dataclass(frozen=True)
class EmbedJob:
    """Compute features of an input; for `engine.run`.

    Attributes:
        model: what `Network.open` takes.
        reading: the input.
        out: the output.
        layer: see `embed`.
        pool: see there.
        both_strands: see there.
        number: type of the numbers.
        window: see `Tiling.of`.
        overlap: see there.
        width: channels of the features.
        cut: whether long rows may be cut in pieces.
        said: metadata of the output.
    """

    model: str | Path
    reading: Reading
    out: Path
    layer: int | None
    pool: PoolName
    both_strands: bool
    number: Number
    window: int | None
    overlap: int | None
    width: int
    cut: bool
    said: tuple[tuple[str, str], ...]
    verb: str = "embed"
    unit: str = "letters"

    def identity(self) -> dict[str, Any]:
        """All that decides the output."""
        names = ("layer", "pool", "both_strands", "number", "window", "overlap")
        options = {name: getattr(self, name) for name in names}
        return options | self.reading.identity() | {"kind": self.out.suffix}

    def total(self) -> int:
        """Letters of all rows."""
        return self.reading.open().total

    def shards(self) -> Iterator[Shard]:
        """Rows that follow each other, or pieces of long ones."""
        letters = keyed.letters_each(self.width if self.pool == "none" else None)
        for payload, size in self.reading.open().shards(letters, keyed.ROWS, cut=self.cut):
            yield Shard(payload, size)

    def worker(self, network: Network) -> Callable[[Payload], pa.Table]:
        """Keys and embeddings of a shard; of a piece of a row its pooling's state."""
        source = self.reading.open()
        passes = Passes(
            network, self.layer, self.both_strands, self.window, self.overlap, self.pool == "cls"
        )
        pooled = _pooling(network, self.model, self.pool)

        def work(payload: Payload) -> pa.Table:
            part = source.part(Payload(*payload))
            table = self._computed(passes, pooled, part, Payload(*payload))
            source.let_go()
            return table

        return work

    def _computed(
        self, passes: Passes, pooled: PoolingInPieces | None, part: Part, payload: Payload
    ) -> pa.Table:
        if pooled is None:
            found = passes.features(part)
            return self._table(keyed.every_position(part), found)
        if payload.end is not None:
            states = passes.states(part, pooled)
            flat = pa.array(states.flatten().numpy())
            column = pa.FixedSizeListArray.from_arrays(flat, states[0].numel())
            return part.keys.append_column("state", column)
        return self._table(part.keys, passes.pooled(part, pooled))

    def _table(self, keys: pa.Table, values: Values) -> pa.Table:
        return keys.append_column("embedding", keyed.vectors(values, self.number))

    def assemble(self, parts: Iterator[pa.Table], aside: Path) -> None:
        """Write all parts, the pieces of a row put together."""
        schema = self.reading.open().key_schema
        if self.pool == "none":
            schema = schema.append(pa.field("position", pa.int64()))
        kind = keyed.vector_type(self.width, self.number)
        schema = schema.append(pa.field("embedding", kind))
        tables, said = self._whole(parts), dict(self.said)
        if self.out.suffix == ".npy":
            keyed.write_matrix(tables, aside, self.out, schema, said)
        else:
            write_parquet(tables, aside, schema, said)

    def _whole(self, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
        state: State | None = None
        for shard, table in zip(self.shards(), parts, strict=True):
            if "state" not in table.column_names:
                yield table
                continue
            assert self.pool != "none"
            merging = in_pieces(pooling(self.pool, self.width))
            flat = torch.tensor(table["state"].chunk(0).flatten().to_numpy())
            found = flat.view(1 + self.both_strands, -1)
            state = found if state is None else merging.merged(state, found)
            if shard.payload.final:
                pooled = merging.finished(state).float().mean(0, keepdim=True)
                yield self._table(table.drop_columns("state"), pooled.numpy())
                state = None
