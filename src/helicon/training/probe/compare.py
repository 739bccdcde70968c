"""The work of a probe: features of every network, and a regression for every pooling and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from helicon.forward.network import Network
from helicon.machine.progress import Progress
from helicon.metrics.measured import (
    Outputs,
    measures_of,
    predictions,
    write_parquet,
)
from helicon.models.hub import HeliconPreTrainedModel, is_untrained, load
from helicon.models.huggingface.folder import weights_hash
from helicon.models.parts.heads import Pooling
from helicon.training.adaptation.adapt import check_weights, drawn_anew
from helicon.training.adaptation.linear import fit_probe
from helicon.training.adaptation.options import default_batch
from helicon.training.probe.attention import AttentionSettings, Rows, learn_attention
from helicon.training.probe.data import ProbeData
from helicon.training.probe.features import TableFeatures, Vectors
from helicon.training.probe.recipe import NETWORKS, Compare, ProbeMachine, listed
from helicon.training.probe.result import UNTRAINED, Compared, Fit, Interval, rows_intervals
from helicon.training.run.folder import RunFolder

_GIB = 2**30


@dataclass(frozen=True)
class Source:
    """A network to probe.

    Attributes:
        name: in the comparison.
        model: the network; of an untrained one, what says its architecture.
        fresh: whether each seed draws its weights anew.
    """

    name: str
    model: HeliconPreTrainedModel
    fresh: bool = False


def sources_of(model: str, recipe: Compare) -> list[Source]:
    """The networks of the comparison, the untrained one last."""
    if is_untrained(model):
        return [Source(UNTRAINED, load(model), fresh=True)]
    if recipe.networks is None:
        named = [Source("pretrained", load(model))]
    else:
        names = listed("networks", recipe.networks, NETWORKS)
        named = [Source(n, load(model, n)) for n in names]  # type: ignore[arg-type]
    for one in named:
        check_weights(one.model, model)
    return [*named, *([Source(UNTRAINED, named[0].model, fresh=True)] if recipe.untrained else [])]


def weights_of(sources: Sequence[Source]) -> dict[str, str]:
    """SHA-256 of the weights that were read, by network."""
    found = {s.name: weights_hash(s.model.name_or_path) for s in sources if not s.fresh}
    return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Probing:
    """What all fits of a probe share.

    Attributes:
        recipe: what is compared.
        machine: where.
        data: the tables.
        pools: the poolings to compare.
        monitor: the measure on validation data that chooses.
        fabric: where networks compute.
        run: the folder.
    """

    recipe: Compare
    machine: ProbeMachine
    data: ProbeData
    pools: Sequence[Pooling]
    monitor: str
    fabric: Fabric
    run: RunFolder

    @property
    def batch_size(self) -> int:
        """Sequences at once."""
        train = self.data.train
        return self.recipe.batch_size or default_batch(len(train), train.lengths)

    @property
    def seeds(self) -> range:
        """Of the fits, where they decide anything."""
        return range(self.recipe.seed, self.recipe.seed + self.recipe.seeds)

    def varies(self, source: Source, pool: Pooling) -> tuple[str, ...]:
        """What the seeds vary of the fits of a pooling."""
        what = {
            "the rows held out for validation": self.data.valid is None,
            "the weights of the network": source.fresh,
            "attention's first weights and order of rows": pool == "attention",
        }
        return tuple(name for name, does in what.items() if does)

    def compared(self, sources: Sequence[Source]) -> Iterator[Compared]:
        """Fit and measure everything, a network after the other."""
        each = [(source, pool) for source in sources for pool in self.pools]
        total = sum(len(self.seeds) if self.varies(*one) else 1 for one in each)
        done = 0
        with Progress("probe", total, unit="fits") as progress:
            for source in sources:
                fits: dict[Pooling, list[_Fitted]] = {pool: [] for pool in self.pools}
                features: dict[str, TableFeatures] = {}
                for seed in self.seeds:
                    first = seed == self.seeds[0]
                    pools = [p for p in self.pools if first or self.varies(source, p)]
                    if pools and (first or source.fresh):
                        features = {}  # those before are let go
                        features = self._features(source, seed)
                    for pool in pools:
                        fits[pool].append(self._fit(source, features, pool, seed))
                        progress.step(done := done + 1)
                yield from (self._together(source, pool, found) for pool, found in fits.items())

    def _features(self, source: Source, seed: int) -> dict[str, TableFeatures]:
        """Features of all tables, by part."""
        model = drawn_anew(source.model, seed) if source.fresh else source.model
        network = Network(model, self.fabric.device, self.machine.precision)
        tables = self.data.tables
        size = TableFeatures.bytes_of(model, list(tables.values()))
        return {
            part: TableFeatures.of(
                network,
                table,
                self.pools,
                self.batch_size,
                keep=size <= self.recipe.cache * _GIB,
            )
            for part, table in tables.items()
        }

    def _fit(
        self, source: Source, features: dict[str, TableFeatures], pool: Pooling, seed: int
    ) -> _Fitted:
        """One regression, chosen on validation data and then measured on both parts."""
        target = self.data.target
        rows, held = self.data.split(seed)
        train = _rows(features["train"], rows, self.data)
        valid = _rows(features.get("validation", features["train"]), held, self.data)
        parts = {"train": train, "validation": valid}
        if self.data.test is not None:
            parts["test"] = _rows(features["test"], None, self.data)
        vectors = self._vectors(parts, pool, seed)
        fitted = fit_probe(
            (vectors["train"], train.labels),
            (vectors["validation"], valid.labels),
            target,
            balanced=self.recipe.class_weights != "none",
            monitor=self.monitor,
        )
        measured = list(parts)[1:]
        outputs = {part: target.natural(fitted.outputs(vectors[part])) for part in measured}
        scores = {
            part: measures_of(target, parts[part].labels, outputs[part]).main for part in measured
        }
        truth = {part: parts[part].labels for part in measured}
        found = _Fitted(Fit(seed, fitted.strength, scores), truth, outputs)
        self._write(source, pool, found)
        return found

    def _vectors(self, parts: dict[str, Rows], pool: Pooling, seed: int) -> dict[str, Vectors]:
        """Pooled features of every part."""
        if pool != "attention":
            return {part: r.features.pooled[pool][r.rows] for part, r in parts.items()}
        settings = AttentionSettings(
            epochs=self.recipe.epochs,
            lr=self.recipe.lr,
            batch_size=self.batch_size,
            class_weights=self.recipe.class_weights,
            monitor=self.monitor,
        )
        learned = learn_attention(
            parts["train"], parts["validation"], self.data.target, settings, seed
        )
        return {part: r.features.through(learned, r.rows) for part, r in parts.items()}

    def _write(self, source: Source, pool: Pooling, found: _Fitted) -> None:
        """Write the predictions for the test rows."""
        if self.data.test is None:
            return
        several = f"-seed-{found.fit.seed}" if self.varies(source, pool) else ""
        truth, outputs = found.truth["test"], found.outputs["test"]
        frame = predictions(self.data.test, self.data.target, outputs, truth)
        folder = self.run.path / "predictions"
        write_parquet(frame, folder / f"{source.name}-{pool}{several}.parquet")

    def _together(self, source: Source, pool: Pooling, found: Sequence[_Fitted]) -> Compared:
        intervals: dict[str, dict[str, Interval]] = {}
        if len(found) == 1:
            part, outputs = list(found[0].outputs.items())[-1]
            truth = found[0].truth[part]
            intervals = {part: rows_intervals(self.data.target, truth, outputs)}
        fits = tuple(one.fit for one in found)
        return Compared(source.name, pool, self.varies(source, pool), fits, intervals)

    def notes(self, sources: Sequence[Source]) -> tuple[str, ...]:
        """What was found and decided, a line each."""
        lines = [*self.data.notes]
        counts = [len(part) for part in self.data.split(self.recipe.seed)]
        held = "held out by each seed" if self.data.valid is None else "from a file"
        lines.append(f"fit on {counts[0]:,} rows, penalties chosen on {counts[1]:,} {held}")
        for source in sources:
            for pool in self.pools:
                varied = " and ".join(self.varies(source, pool)) or "nothing: one fit"
                lines.append(f"{source.name}, {pool}: seeds vary {varied}")
        if "attention" in self.pools:
            size = TableFeatures.bytes_of(sources[0].model, list(self.data.tables.values())) / _GIB
            kept = "kept" if size <= self.recipe.cache else "computed anew in every epoch (cache)"
            lines.append(f"attention: features of all positions take {size:.2g} GiB and are {kept}")
        return tuple(lines)


@dataclass(frozen=True)
class _Fitted:
    """A fit, and by part the labels and its outputs, in the unit of the data.

    It outlives the features, which take much memory, and holds none of them.
    """

    fit: Fit
    truth: dict[str, NDArray]
    outputs: dict[str, Outputs]


def _rows(features: TableFeatures, rows: NDArray[np.int64] | None, data: ProbeData) -> Rows:
    """Labelled rows of a table; all of them if `None`."""
    rows = np.arange(len(features.table)) if rows is None else rows
    return Rows(features, rows, data.target.encode(features.table)[rows])
