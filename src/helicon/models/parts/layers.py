"""Convolutions over channels-last activations, written for the fast path of each device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from helicon.models.parts.fast_conv import fast_conv, pays

Sequence = Float[Tensor, "batch length channels"]
Outputs = Float[Tensor, "batch length outputs"]


def conv(x: Sequence, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Outputs:
    """Dilated "same" convolution along the length of channels-last activations.

    The sequence is seen as an image of height one in channels-last layout, which both oneDNN and
    cuDNN take without a permutation or a copy; `conv1d` would transpose twice. Wide float32 layers
    on a CPU go by `fast_conv`, which differs by rounding alone. On a GPU a layer of width one is a
    matrix product (1.8 to 2.8 times faster), and whole float32 goes by `conv1d`: for wide dilated
    layers cuDNN has no other kernel worth the name (50 times slower at 1,280 channels).

    Args:
        x: activations (B, L, C).
        weight: (D, C, K) with K odd, laid out as in `torch.nn.Conv1d`.
        bias: (D,) or `None`.
        dilation: distance between taps.

    Returns:
        Activations (B, L, D).
    """
    if pays(x, weight, dilation):
        return fast_conv(x, weight, bias, dilation)
    reach = weight.shape[-1] // 2 * dilation
    if x.is_cuda and weight.shape[-1] == 1:
        return F.linear(x, weight.squeeze(-1), bias)
    if x.is_cuda and x.dtype == torch.float32 and not torch.is_autocast_enabled("cuda"):
        out = F.conv1d(x.transpose(1, 2), weight, bias, padding=reach, dilation=dilation)
        return out.transpose(1, 2)
    batch, length, channels = x.shape
    image = x.reshape(batch, 1, length, channels).permute(0, 3, 1, 2)
    out = F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, reach), dilation=(1, dilation))
    return out.permute(0, 2, 3, 1).reshape(batch, length, -1)


class Conv(nn.Module):
    """A "same" convolution (odd kernels) of channels-last activations; weights as in `nn.Conv1d`.

    It is no subclass of that one: PEFT puts low-rank adapters without the dilation beside a
    `Conv1d`, which compute something else than what it merges. It refuses a layer that it does not
    know.

    Args:
        channels_in: channels C of the input.
        channels_out: channels D of the output.
        kernel: taps K, odd.
        dilation: distance between taps.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, dilation: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.dilation = dilation
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `torch.nn.Conv1d` does."""
        bound = self.weight[0].numel() ** -0.5
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Sizes, for people."""
        channels_out, channels_in, kernel = self.weight.shape
        return f"{channels_in}, {channels_out}, kernel={kernel}, dilation={self.dilation}"

    def forward(self, x: Sequence) -> Outputs:
        """Convolve (B, L, C) to (B, L, D)."""
        return conv(x, self.weight, self.bias, self.dilation)


class Pointwise(nn.Linear):
    """`torch.nn.Linear` over the channels of (B, L, C), computed as a convolution of width one."""

    def forward(self, x: Sequence) -> Outputs:
        """Map (B, L, C) to (B, L, D)."""
        return conv(x, self.weight.unsqueeze(-1), self.bias)
