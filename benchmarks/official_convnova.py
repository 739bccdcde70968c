"""The published implementation, loaded from a checkout that `HELICON_CONVNOVA_REPO` names.

Its code has no licence and is not part of this repository:
https://github.com/aim-uofa/ConvNova, measured at commit c6060272.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import torch
from official_loading import load_file
from torch import Tensor, nn

from helicon.models.convnova.network import ConvNovaConfig

VARIABLE = "HELICON_CONVNOVA_REPO"


def checkout() -> Path | None:
    """Folder `convnova` of the checkout, `None` where the variable is not set."""
    if not (name := os.environ.get(VARIABLE)):
        return None
    folder = Path(name).expanduser() / "convnova"
    if not (folder / "src").is_dir():
        raise SystemExit(f"{VARIABLE}={name}: no convnova/src there; check out the repository")
    return folder


class OfficialConvNova(nn.Module):
    """The published network with its language-model head; ids (B, L) to logits (B, L, 5)."""

    def __init__(self, config: ConvNovaConfig):
        super().__init__()
        folder = checkout()
        assert folder is not None
        module = load_file(folder / "src" / "models" / "ConvNova" / "convnova.py")
        self.model = module.CNNModel(
            SimpleNamespace(hidden_dim=config.d_model, num_cnn_stacks=config.stacks, dropout=0.0),
            alphabet_size=5,
            pretrain=True,
            dilation=config.dilation,
            kernel_size=config.kernel,
            num_conv1d=config.blocks,
            d_inner=config.mlp_ratio,
            ffn=config.feed_forward,
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, without the mask that the published network passes through."""
        output, _ = self.model((ids, None))
        return output.logits[0]

    def load_ours(self, state: dict[str, Tensor]) -> None:
        """Take weights under our names (a `HeliconForMaskedLM` state dict)."""
        self.model.load_state_dict({key: state[_our_name(key)] for key in self.model.state_dict()})


def _our_name(key: str) -> str:
    module, *rest = key.split(".")
    tail = ".".join(rest)
    if module == "out_linear":
        return f"lm_head.{tail}"
    top = {"linear": "stem", "rc_linear": "gate_stem", "milinear": "mlp"}
    if module in top:
        return f"backbone.{top[module]}.{tail}"
    within = {
        "convs": "conv",
        "gates": "gate",
        "norms": "norm",
        "rc_norms": "gate_norm",
        "mlpgroup2": "feed_forward",
    }
    block, tail = tail.split(".", 1)
    return f"backbone.blocks.{block}.{within[module]}.{tail}"


def official_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW as in its pretraining configuration."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
