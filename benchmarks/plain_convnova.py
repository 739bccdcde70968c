"""ConvNova as its paper reads, for comparison: channels first, `conv1d`, two stems.

Bo et al. (ICLR 2025), with the dilations of their code. Nothing here is tuned: layer
normalisation permutes to channels last and back, the two stems are two convolutions, the
feed-forward layers are `nn.Linear`. The parameters have the names of
`helicon.models.convnova.network`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.models.convnova.network import STEM_KERNEL, ConvNovaConfig

COMPLEMENT = torch.tensor([3, 2, 1, 0, 4])


def over_channels(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer for channels-last activations to (B, D, L)."""
    return layer(x.permute(0, 2, 1)).permute(0, 2, 1)


class PlainBlock(nn.Module):
    """One gated convolutional block over (B, D, L)."""

    def __init__(self, d: int, kernel: int, dilation: int):
        super().__init__()
        self.norm, self.gate_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.conv = nn.Conv1d(d, d, kernel, padding="same", dilation=dilation)
        self.gate = nn.Conv1d(d, d, kernel, padding="same", dilation=dilation)
        self.feed_forward = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.LayerNorm(d))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Update both branches, each (B, D, L)."""
        h = F.gelu(self.conv(over_channels(self.norm, a)))
        g = torch.sigmoid(self.gate(over_channels(self.gate_norm, b)))
        a, b = a + h * g, b + g
        return a + over_channels(self.feed_forward, a), b


class PlainConvNova(nn.Module):
    """ConvNova with feed-forward layers and a language-model head; ids (B, L) to (B, L, 5)."""

    def __init__(self, config: ConvNovaConfig):
        super().__init__()
        d, wide = config.d_model, config.d_model * config.mlp_ratio
        self.stem = nn.Conv1d(5, d, STEM_KERNEL, padding="same")
        self.gate_stem = nn.Conv1d(5, d, STEM_KERNEL, padding="same")
        self.blocks = nn.ModuleList(
            PlainBlock(d, config.kernel, dilation) for dilation in config.dilations
        )
        self.mlp = nn.Sequential(
            nn.Linear(d, wide),
            nn.GELU(),
            nn.Linear(wide, wide),
            nn.LayerNorm(wide),
            nn.Linear(wide, wide),
            nn.GELU(),
            nn.Linear(wide, d),
            nn.LayerNorm(d),
        )
        self.head = nn.Linear(d, 5)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, L, 5) of ids (B, L)."""
        a = F.one_hot(ids, 5).float().permute(0, 2, 1)
        b = F.one_hot(COMPLEMENT.to(ids.device)[ids], 5).float().permute(0, 2, 1)
        a, b = F.gelu(self.stem(a)), F.gelu(self.gate_stem(b))
        for block in self.blocks:
            a, b = block(a, b)
        a = a + over_channels(self.mlp, a)
        return self.head(a.permute(0, 2, 1))
