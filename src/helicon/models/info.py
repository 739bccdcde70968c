"""What a model is: sizes, reach, work and memory, counted without computing anything.

The network runs once on torch's `meta` device, where tensors have shapes but no values. The
multiplications are counted by torch's own counter, Fourier transforms here, and what neither sees
by the network itself (`Backbone.uncounted`); memory is the largest sum of all the tensors
that are alive at one moment. Attention is counted as fused kernels compute it on every device, in
pieces: its square of weights is never alive as a whole.
"""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from helicon.errors import InputError
from helicon.models.hub import HeliconPreTrainedModel, load, untrained
from helicon.models.registry import SIZES

#: Values that AdamW keeps for each weight, and the gradient.
_TRAINING_COPIES = 3
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class ModelInfo:
    """What a model is.

    Attributes:
        model: the name or path that was asked about.
        kind: name of its class.
        architecture: name of its backbone's architecture.
        alphabet: `dna` or `protein`.
        outputs: names of the classes, labels or letters that its head gives; empty without a head.
        parameters: trained values, head included.
        backbone_parameters: those of the backbone.
        d_model: channels of its features.
        receptive_field: width in letters of the window that one output depends on; `None` for all.
        length: letters of a sequence, for what follows.
        batch_size: sequences at once, for what follows.
        flops_per_letter: floating-point operations of a forward pass, two a multiplication.
        weights_mb: mebibytes of the weights in float32.
        inference_mb: mebibytes of weights and activations of a forward pass in float32.
        training_mb: the same for a step of training, with gradients and AdamW's state.
        config: every field of the backbone's config.
    """

    model: str
    kind: str
    architecture: str
    alphabet: str
    outputs: tuple[str, ...]
    parameters: int
    backbone_parameters: int
    d_model: int
    receptive_field: int | None
    length: int
    batch_size: int
    flops_per_letter: float
    weights_mb: float
    inference_mb: float
    training_mb: float
    config: dict[str, Any]


def info(model: str | Path, *, length: int = 1024, batch_size: int = 1) -> ModelInfo:
    """Describe a model: size, receptive field, work and memory.

    Memory is counted: all tensors that a plain pass in float32 holds at once, every convolution
    computed in one piece. What the numerical libraries need on top is not in it.

    Args:
        model: a named size, a run folder, a model folder or a Hugging Face id.
        length: letters of a sequence, for work and memory.
        batch_size: sequences at once, for memory.

    Returns:
        Numbers by name.

    Raises:
        InputError: there is no such model, or a number is below one.
    """
    for name, value in (("length", length), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"{name}: must be at least 1, not {value}")
    network = _without_values(model)
    ids = torch.zeros(batch_size, length, dtype=torch.long, device="meta")
    weights = sum(t.nbytes for t in network.state_dict().values())
    config = network.config.backbone_config
    return ModelInfo(
        model=str(model),
        kind=type(network).__name__,
        architecture=network.config.architecture,
        alphabet=network.backbone.alphabet.name,
        outputs=_outputs(network),
        parameters=sum(p.numel() for p in network.parameters()),
        backbone_parameters=network.backbone.parameter_count,
        d_model=network.backbone.d_model,
        receptive_field=network.backbone.receptive_field,
        length=length,
        batch_size=batch_size,
        flops_per_letter=_flops(network, ids) / ids.numel(),
        weights_mb=weights / _MEBIBYTE,
        inference_mb=(weights + peak_bytes(lambda: _infer(network, ids))) / _MEBIBYTE,
        training_mb=_training_bytes(network, ids, weights) / _MEBIBYTE,
        config=dataclasses.asdict(config),
    )


def _without_values(model: str | Path) -> HeliconPreTrainedModel:
    """The network with shapes alone; published weights are not fetched for that."""
    if str(model) in SIZES:
        with torch.device("meta"):
            return untrained(str(model))
    network = load(model)
    nn.Module.to(network, "meta")
    return network


def sizes() -> list[ModelInfo]:
    """Describe every named size, at the default length."""
    return [info(name) for name in SIZES]


def _outputs(model: HeliconPreTrainedModel) -> tuple[str, ...]:
    if hasattr(model, "lm_head"):
        return tuple(model.backbone.alphabet.letters)
    headed = hasattr(model, "classifier") or hasattr(model, "pair_head")
    return tuple(model.config.labels) if headed else ()


def _infer(model: HeliconPreTrainedModel, ids: torch.Tensor) -> None:
    with torch.no_grad(), _FusedAttention():
        model(ids)


def _train(model: HeliconPreTrainedModel, ids: torch.Tensor) -> None:
    with _FusedAttention():
        first = model(ids)[0]
    first.sum().backward()


class _FusedAttention(TorchFunctionMode):
    """Takes the fused kernel for attention, which torch does not choose on the `meta` device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args[:3])[0]
        return func(*args, **(kwargs or {}))


def _flops(model: HeliconPreTrainedModel, ids: torch.Tensor) -> int:
    """What torch's counter sees, Fourier transforms, and what the network counts itself."""
    with FlopCounterMode(display=False, custom_mapping=_TRANSFORMS) as counter:
        _infer(model, ids)
    return counter.get_total_flops() + len(ids) * model.backbone.uncounted(ids.shape[1])


def _transformed(shape: Sequence[int], axes: Sequence[int], real: bool) -> int:
    """Operations of fast Fourier transforms along some axes: 5 n log2 n, half for real numbers."""
    points = math.prod(shape[axis] for axis in axes)
    return int(math.prod(shape) * 5 * math.log2(max(points, 2)) / (2 if real else 1))


def _complex(shape: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> int:
    return _transformed(shape, axes, real=False)


def _from_real(shape: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> int:
    return _transformed(shape, axes, real=True)


def _to_real(
    shape: Sequence[int], axes: Sequence[int], normalization: int, size: int, **_: Any
) -> int:
    whole = list(shape)
    whole[axes[-1]] = size
    return _transformed(whole, axes, real=True)


_TRANSFORMS = {
    torch.ops.aten._fft_c2c: _complex,
    torch.ops.aten._fft_r2c: _from_real,
    torch.ops.aten._fft_c2r: _to_real,
}


def _training_bytes(model: HeliconPreTrainedModel, ids: torch.Tensor, weights: int) -> int:
    """Weights, gradients, AdamW's two moments, and the largest sum of activations."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return weights * (1 + _TRAINING_COPIES) + peak_bytes(lambda: _train(model, ids))


class _Alive(TorchDispatchMode):
    """Keeps the sum of bytes of the storages made inside it that still exist, and its peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if _is_tensor(t)}
        for tensor in filter(_is_tensor, tree_leaves(made)):
            storage = tensor.untyped_storage()
            if id(storage) not in given and storage not in self._known:
                self._add(storage)
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, size)

    def _remove(self, size: int) -> None:
        self.now -= size


def _is_tensor(x: object) -> bool:
    return isinstance(x, torch.Tensor)


def peak_bytes(work: Callable[[], object]) -> int:
    """Largest number of bytes that the tensors made by `work` take at one moment."""
    with _Alive() as alive:
        work()
    return alive.peak
