"""The published implementation of CARP: the package `sequence-models`, outside the environment.

pip install --no-deps --target FOLDER sequence-models==1.8.0
export HELICON_CARP_PACKAGE=FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from helicon.alphabet import PROTEIN
from helicon.models.bytenet.network import ByteNetConfig

VARIABLE = "HELICON_CARP_PACKAGE"

#: Our module names and theirs, of a block.
_BLOCK = {
    "conv": "conv",
    "norm_in": "sequence1.0",
    "narrow": "sequence1.2.conv",
    "norm": "sequence1.3",
    "norm_out": "sequence2.0",
    "widen": "sequence2.2.conv",
}
_REST = {
    "backbone.embedding": "embedder.embedder",
    "backbone.widen": "embedder.up_embedder.conv",
    "backbone.norm": "last_norm",
    "lm_head": "decoder.conv",
}


def package() -> Path | None:
    """The folder of the package, `None` where the variable is not set."""
    if not (name := os.environ.get(VARIABLE)):
        return None
    folder = Path(name).expanduser()
    if not (folder / "sequence_models").is_dir():
        raise SystemExit(f"{VARIABLE}={name}: no sequence_models there; install the package")
    return folder


class OfficialCarp(nn.Module):
    """The published network with its head; ids (B, L) to logits (B, L, 30).

    It is called as its collater calls it: with a mask, here of real positions only.
    """

    def __init__(self, config: ByteNetConfig):
        super().__init__()
        folder = package()
        assert folder is not None
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        from sequence_models.convolutional import ByteNetLM

        self.model = ByteNetLM(
            PROTEIN.size,
            config.d_embedding,
            config.d_model,
            config.blocks,
            config.kernel,
            config.max_dilation,
            causal=False,
            padding_idx=PROTEIN.mask_id,
            dropout=0.0,
            final_ln=True,
            slim=config.slim,
            activation=config.activation,
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, L, 30)."""
        return self.model(ids, input_mask=torch.ones(*ids.shape, 1, device=ids.device))

    def load_ours(self, state: dict[str, Tensor]) -> None:
        """Take weights under our names (a `HeliconForMaskedLM` state dict)."""
        theirs = {_their_name(key): value for key, value in state.items()}
        shapes = self.model.state_dict()
        self.model.load_state_dict({k: v.view_as(shapes[k]) for k, v in theirs.items()})


def _their_name(key: str) -> str:
    module, _, kind = key.rpartition(".")
    if module in _REST:
        return f"{_REST[module]}.{kind}"
    _, _, number, part = module.split(".")
    return f"embedder.layers.{number}.{_BLOCK[part]}.{kind}"
