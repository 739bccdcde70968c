"""In which precision a network computes.

What is used, evaluated or measured is computed in float32, so that the same command gives the same
numbers on every machine; bfloat16 is a choice. Training may take bfloat16 by itself where the
hardware multiplies matrices in it. float32 is whole: TF32, which keeps 10 of its 23 bits, is off.
"""

from __future__ import annotations

import os
from typing import Literal

import torch

from helicon.errors import InputError

#: Of inference, evaluation and measures; bfloat16 is of the matrix products alone.
Precision = Literal["float32", "bfloat16"]
#: Of training, where `auto` is bfloat16 if the hardware multiplies in it.
TrainingPrecision = Literal["auto", "float32", "bfloat16"]

#: Environment variable that says, `1` or `0`, whether the hardware multiplies in bfloat16.
SWITCH = "HELICON_BFLOAT16"


def training_precision(asked: str, accelerator: str = "auto") -> Precision:
    """Decide `auto`: bfloat16 where the hardware multiplies matrices in it, else float32.

    Args:
        asked: `auto`, `float32` or `bfloat16`.
        accelerator: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: the precision is none of the three, or the switch is neither 0 nor 1.
    """
    if asked not in ("auto", "float32", "bfloat16"):
        raise InputError(f"precision: {asked!r} is not known; auto, float32 or bfloat16")
    narrow = has_bfloat16(accelerator) if asked == "auto" else asked == "bfloat16"
    return "bfloat16" if narrow else "float32"


def has_bfloat16(accelerator: str = "auto") -> bool:
    """Whether the hardware multiplies matrices in bfloat16, or `HELICON_BFLOAT16` says so.

    That is CUDA of capability 8 or more, and CPUs with AMX or AVX-512 BF16. Elsewhere bfloat16 is
    emulated, many times slower than float32.

    Raises:
        InputError: the variable is neither 0 nor 1.
    """
    said = os.environ.get(SWITCH, "")
    if said not in ("", "0", "1"):
        raise InputError(f"{SWITCH}: must be 0 or 1, not {said!r}")
    if said:
        return said == "1"
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_capability() >= (8, 0)
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def check_precision(precision: str) -> None:
    """Refuse a precision that inference does not know.

    Raises:
        InputError: it is neither `float32` nor `bfloat16`.
    """
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: {precision!r} is not known; float32 or bfloat16")


def wide(values: torch.Tensor) -> torch.Tensor:
    """The values in float64; on the CPU where their device has none, as Apple's GPUs."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def whole_float32() -> None:
    """Switch TF32 off, in which GPUs else compute convolutions that are asked for in float32."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
