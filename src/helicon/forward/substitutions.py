"""What substitutions change in the features of a sequence, for a network, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from helicon.alphabet import Ids
from helicon.forward.network import Network
from helicon.models.parts.substitutions import Changed, Reference, Where

#: Memory of the substitutions worked on together. On a CPU, what a system's allocator keeps for the
#: next ones instead of giving it back: new memory costs a fifth of the time.
CPU_BYTES, GPU_BYTES = 28 * 2**20, 2**30


class Differences:
    """The exact features of sequences with substitutions.

    How they are computed: `helicon.models.parts.substitutions`.

    Args:
        network: the network.
    """

    def __init__(self, network: Network):
        self.network = network
        self.substitutions = network.model.backbone.substitutions()

    def reference(self, ids: Ids | Tensor) -> Reference:
        """A sequence, before substitutions.

        Args:
            ids: token ids (L,). The sequence is taken as whole: the network sees nothing beyond.
        """
        with self.network.computing():
            found = self.substitutions.reference(self.network.tokens(ids))

        def features() -> Tensor:
            with self.network.computing():
                return found.features.float()

        return replace(found, compute=features)

    def of(
        self,
        reference: Reference,
        positions: Tensor,
        tokens: Tensor,
        where: Where = "affected",
    ) -> Iterator[tuple[slice, Changed]]:
        """Features of the sequence with one substitution, for each of n, some at a time.

        Args:
            reference: what `reference` gave.
            positions: 0-based first substituted position of each, (n,).
            tokens: ids that stand there instead, (n,), or (n, w) for w letters in succession.
            where: see `helicon.models.parts.substitutions.Substitutions.of`.

        Yields:
            Which substitutions, and their features, float32.
        """
        tokens = tokens.to(self.network.device).view(len(positions), -1)
        positions = positions.to(self.network.device)
        room = CPU_BYTES if self.network.device.type == "cpu" else GPU_BYTES
        each = self.substitutions.bytes_each(len(reference), tokens.shape[1], where)
        at_once = max(1, room // each)
        for first in range(0, len(positions), at_once):
            part = slice(first, min(first + at_once, len(positions)))
            with self.network.computing():
                found = self.substitutions.of(reference, positions[part], tokens[part], where)
            yield part, replace(found, features=found.features.float())
