"""Features of a frozen network for labelled sequences: computed once, pooled in several ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from helicon.alphabet import Ids
from helicon.data.sampling.batching import evaluation_batches
from helicon.data.tables.tables import SequenceTable
from helicon.forward.network import Network
from helicon.models.hub import HeliconPreTrainedModel
from helicon.models.parts.heads import Pooling, pooling

#: `ids`, `mask` and `rows` of sequences that are padded on the right.
Batch = dict[str, NDArray[Any]]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class TableFeatures:
    """What a frozen network gives for the rows of a table.

    Attributes:
        network: the network.
        table: n sequences.
        batch_size: rows in a batch; no result depends on it.
        pooled: features (n, D) by pooling, but for `attention`, which has to be learned.
        center: mean of each channel over all positions, (D,); zeros where not asked for.
        spread: its standard deviation, (D,); ones where it is zero, or was not asked for.
        positions: features (letters, D), packed as the table's letters; `None` where they are
            computed anew whenever they are needed.
    """

    network: Network
    table: SequenceTable
    batch_size: int
    pooled: dict[Pooling, Vectors]
    center: Tensor
    spread: Tensor
    positions: Tensor | None

    @classmethod
    def of(
        cls,
        network: Network,
        table: SequenceTable,
        pools: Sequence[Pooling],
        batch_size: int,
        *,
        keep: bool,
    ) -> TableFeatures:
        """Compute features, in one pass, and a second one for CLS tokens.

        Args:
            network: the network.
            table: the sequences.
            pools: what is to be pooled; `attention` among them asks for `center`, `spread` and
                `positions`.
            batch_size: rows in a batch.
            keep: keep the features of all positions for `attention`.
        """
        width = network.d_model
        learned = "attention" in pools
        pools = [pool for pool in pools if pool != "attention"]
        modules = {pool: pooling(pool, width) for pool in pools}
        pooled = {pool: np.empty((len(table), width), np.float32) for pool in pools}
        packed = torch.empty(len(table.ids), width) if learned and keep else None
        moments = torch.zeros(2, width, dtype=torch.float64)
        for batch in evaluation_batches(table, batch_size):
            rows, mask = batch["rows"], torch.from_numpy(batch["mask"]).to(network.device)
            if "cls" in modules:
                pooled["cls"][rows] = (
                    modules["cls"](network.cls_features(*_inputs(batch))).cpu().numpy()
                )
            if pools == ["cls"] and not learned:
                continue
            features = network.features(*_inputs(batch))
            for pool in modules.keys() - {"cls"}:
                pooled[pool][rows] = modules[pool](features, mask).cpu().numpy()
            if learned:
                real = features[mask].cpu()
                moments += torch.stack([real.double().sum(0), real.double().square().sum(0)])
                if packed is not None:
                    packed[_places(table, batch)[batch["mask"]]] = real
        mean, square = moments / len(table.ids)
        deviation = (square - mean.square()).clamp(min=0).sqrt() if learned else torch.ones(width)
        spread = deviation.where(deviation > 0, 1)
        return cls(network, table, batch_size, pooled, mean.float(), spread.float(), packed)

    @staticmethod
    def bytes_of(model: HeliconPreTrainedModel, tables: Sequence[SequenceTable]) -> int:
        """Memory that the features of all positions of tables take."""
        return 4 * model.backbone.d_model * sum(len(table.ids) for table in tables)

    def at(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (B, L, D) of a batch of the table's rows, kept or computed, and their mask."""
        mask = torch.from_numpy(batch["mask"]).to(self.network.device)
        if self.positions is None:
            return self.network.features(*_inputs(batch)), mask
        places = np.where(batch["mask"], _places(self.table, batch), 0)
        return self.positions[torch.from_numpy(places)].to(self.network.device), mask

    @torch.no_grad()
    def through(self, module: nn.Module, rows: NDArray[np.int64] | None = None) -> Vectors:
        """What a module over positions gives for some rows, or all, in their order: (n, K)."""
        rows = np.arange(len(self.table)) if rows is None else rows
        parts, order = [], []
        for batch in evaluation_batches(self.table.take(rows), self.batch_size):
            order.append(batch["rows"])
            batch["rows"] = rows[batch["rows"]]
            parts.append(module(*self.at(batch)).float().cpu().numpy())
        found = np.concatenate(parts)
        ordered = np.empty_like(found)
        ordered[np.concatenate(order)] = found
        return ordered


def _inputs(batch: Batch) -> tuple[Ids, NDArray[np.bool_]]:
    return batch["ids"], batch["mask"]


def _places(table: SequenceTable, batch: Batch) -> NDArray[np.int64]:
    """Where the letters (B, L) of a batch stand in the packed array; at padding without meaning."""
    return table.offsets[batch["rows"], None] + np.arange(batch["mask"].shape[1])
