"""FinDNA's network as its paper reads, for comparison: a roll for every group, then `torch.cat`.

ChordMixer (Khalitov et al., ICLR 2023) with the layout that FinDNA was pretrained with. Nothing
here is tuned. The parameters have the names of `helicon.models.chordmixer.network`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.models.chordmixer.network import ChordMixerConfig


class PlainBlock(nn.Module):
    """One block over (B, L, C)."""

    def __init__(self, config: ChordMixerConfig):
        super().__init__()
        self.group = config.group
        self.fc1 = nn.Linear(config.d_model, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Update the residual stream (B, L, C)."""
        return x + self.rotated(self.perceptron(x))

    def perceptron(self, x: Tensor) -> Tensor:
        """What the block adds, before it is rotated."""
        return self.fc2(F.gelu(self.fc1(x)))

    def rotated(self, y: Tensor) -> Tensor:
        """Group g of the channels, rolled by 2^(g-1) positions towards the start."""
        first, *others = y.split(self.group, dim=-1)
        rolled = [torch.roll(part, -(2**g), dims=1) for g, part in enumerate(others)]
        return torch.cat([first, *rolled], dim=-1)


class PlainFinDNA(nn.Module):
    """FinDNA's network with its head on every position; ids (B, L) to logits (B, L, 5)."""

    def __init__(self, config: ChordMixerConfig):
        super().__init__()
        self.embedding = nn.Linear(5, config.d_model)
        self.encoders = nn.ModuleList(
            nn.Sequential(*(PlainBlock(config) for _ in range(config.blocks)))
            for _ in range(config.layers)
        )
        self.head = nn.Linear(config.d_model, 5)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, L, 5) of ids (B, L); those behind the five letters are blank."""
        x = self.embedding((ids.unsqueeze(-1) == torch.arange(5, device=ids.device)).float())
        for encoder in self.encoders:
            x = encoder(x)
        return self.head(x)
