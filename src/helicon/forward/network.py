"""A model on a device, ready to be asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from helicon.alphabet import SOFT_BIT, Alphabet, Ids
from helicon.data.annotation.annotation import opposite_classes
from helicon.errors import InputError
from helicon.machine.precision import Precision, check_precision, whole_float32
from helicon.models.hub import (
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconPreTrainedModel,
    load,
)
from helicon.models.huggingface.contacts import HeliconForContacts
from helicon.models.parts.heads import Problem
from helicon.models.registry import SIZES

HeadType = Literal["language", "sequence", "token", "pair", "bare"]
Real = NDArray[np.bool_]

_HEAD_TYPES: dict[type[HeliconPreTrainedModel], HeadType] = {
    HeliconForMaskedLM: "language",
    HeliconForSequenceClassification: "sequence",
    HeliconForTokenClassification: "token",
    HeliconForContacts: "pair",
}
#: Letters that a model is tried on when it is opened.
_TRIED = 64
_LETTER = 0xFF ^ SOFT_BIT


class Network:
    """A model on a device, in evaluation mode, without gradients.

    Args:
        model: the model; it is moved to the device, and weights in half precision or float64 become
            float32 in place: no copy is made.
        device: where it computes.
        precision: `float32`, or `bfloat16` for the matrix products alone.

    Attributes:
        model: the model.
        device: where it computes.
        precision: of its matrix products.
        head_type: what its outputs are: a `language` model's logits of letters, one row of outputs
            a `sequence`, a `token` or a `pair` of them, or none (`bare`).
    """

    def __init__(
        self,
        model: HeliconPreTrainedModel,
        device: torch.device | str = "cpu",
        precision: str = "float32",
    ):
        self.device = torch.device(device)
        self.model: Any = model.eval()
        torch.nn.Module.to(self.model, self.device, torch.float32)
        self.precision = precision
        self.head_type: HeadType = _HEAD_TYPES.get(type(model), "bare")

    @classmethod
    def open(
        cls,
        model: str | Path | HeliconPreTrainedModel,
        *,
        accelerator: str = "auto",
        index: int = 0,
        precision: Precision = "float32",
    ) -> Network:
        """Load a model onto a device.

        Args:
            model: what `helicon.load` takes, or a model. The weights of a named size that has no
                published ones are drawn from a fixed seed.
            accelerator: `auto`, `cpu`, `cuda` or `mps`.
            index: which of several GPUs.
            precision: of its matrix products, `float32` or `bfloat16`.

        Raises:
            InputError: there is no such model, or no such device; or it gives nothing but NaN.
        """
        check_precision(precision)
        whole_float32()
        device = find_device(accelerator, index)
        if isinstance(model, HeliconPreTrainedModel):
            return cls(model, device, precision)
        with torch.random.fork_rng(enabled=str(model) in SIZES):
            if str(model) in SIZES:
                torch.manual_seed(0)
            network = cls(load(model), device, precision)
        network.check_numbers(model)
        return network

    def check_numbers(self, name: str | Path) -> None:
        """Refuse a model that gives nothing but NaN, whatever it reads.

        Args:
            name: of the model, for the message.

        Raises:
            InputError: names it.
        """
        ids = torch.arange(_TRIED)[None] % len(self.alphabet.real)
        found = self.features(ids)
        if self.head_type in ("language", "token") and not found.isnan().all():
            found = self.head(found)
        if found.isnan().all():
            raise InputError(
                f"{name}: gives nothing but NaN; its weights are damaged, or its training failed: "
                "choose another checkpoint"
            )

    @property
    def alphabet(self) -> Alphabet:
        """The alphabet that it reads."""
        return self.model.backbone.alphabet

    @property
    def d_model(self) -> int:
        """Channels of its features."""
        return self.model.backbone.d_model

    @property
    def receptive_field(self) -> int | None:
        """See `helicon.models.parts.backbone.Backbone.receptive_field`."""
        return self.model.backbone.receptive_field

    @property
    def halo(self) -> int | None:
        """Letters on either side that an output depends on; `None` where it depends on all."""
        return None if self.receptive_field is None else self.receptive_field // 2

    @property
    def problem(self) -> Problem | None:
        """What a supervised head solves."""
        return self.model.config.problem

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs; for a language model the alphabet's letters."""
        if self.head_type == "language":
            return tuple(self.alphabet.letters)
        return () if self.head_type == "bare" else tuple(self.model.config.labels)

    @cached_property
    def opposite(self) -> NDArray[np.intp]:
        """For each output, (K,), the one that means the same on the other strand."""
        if self.head_type == "language" and self.alphabet.complements:
            return np.array(self.alphabet.complement_ids, dtype=np.intp)
        if self.head_type == "token" and self.problem == "single_label":
            return opposite_classes(self.labels).astype(np.intp)
        return np.arange(len(self.labels), dtype=np.intp)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the configuration and the weights."""
        config = self.model.config
        said = {key: config.to_dict()[key] for key in ("architecture", "backbone", "alphabet")}
        said |= {"kind": self.head_type, "labels": self.labels, "problem": self.problem}
        said |= {"pool": config.pool, "head": config.head}
        said |= {"cls_tokens": config.cls_tokens} if config.cls_tokens else {}
        total = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for name, tensor in self.model.state_dict().items():
            total.update(name.encode())
            total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return total.hexdigest()

    def check_layer(self, layer: int | None) -> None:
        """Refuse a layer that the backbone has not.

        Raises:
            InputError: names the range.
        """
        layers = self.model.backbone.layers
        if layer is not None and not 0 <= layer <= layers:
            raise InputError(
                f"layer: this model has the layers 0 to {layers}, not {layer}; "
                "leave it out for the output"
            )

    def tokens(self, ids: Ids | Tensor) -> Tensor:
        """Token ids (B, L) on the device, without the soft-mask bit."""
        if isinstance(ids, Tensor):
            return ids.to(self.device)
        return torch.from_numpy(ids & np.uint8(_LETTER)).to(self.device).long()

    def features(
        self, ids: Ids | Tensor, mask: Real | Tensor | None = None, *, layer: int | None = None
    ) -> Tensor:
        """The backbone's features.

        Args:
            ids: token ids (B, L), whose soft-mask bit is left out of account.
            mask: true at real positions, (B, L); `None` where all are.
            layer: of the backbone; `None` for its output.

        Returns:
            float32 (B, L, D), on the device.
        """
        with self.computing():
            return self.model.backbone(self.tokens(ids), self._mask(mask), layer).float()

    @property
    def pools_cls(self) -> bool:
        """Whether its sequence head pools CLS tokens, which stand behind whole sequences."""
        return self.head_type == "sequence" and self.model.config.pool == "cls"

    def cls_features(
        self, ids: Ids | Tensor, mask: Real | Tensor | None = None, *, layer: int | None = None
    ) -> Tensor:
        """Features (B, K, D) of the CLS tokens behind whole sequences; else as `features`.

        Raises:
            InputError: the model was pretrained without such tokens.
        """
        with self.computing():
            return self.model.cls_features(self.tokens(ids), self._mask(mask), layer).float()

    def head(self, features: Tensor, mask: Real | Tensor | None = None) -> Tensor:
        """Outputs for features (B, L, D): (B, L, K), of a sequence head (B, K), in float32.

        A head that pools CLS tokens takes `cls_features`, without a mask.

        Raises:
            InputError: the model has no head, or one of pairs.
        """
        if self.head_type == "bare":
            raise InputError(f"{self.model.name_or_path}: has no head; fine-tune it first")
        if self.head_type == "pair":
            raise InputError(
                f"{self.model.name_or_path}: predicts pairs of residues; use helicon predict"
            )
        with self.computing():
            if self.head_type == "language":
                return self.model.lm_head(features).float()
            if self.head_type == "token":
                return self.model.classifier(features).float()
            return self.model.classifier(features, self._mask(mask)).float()

    def outputs(self, features: Tensor, mask: Real | Tensor | None = None) -> Tensor:
        """Outputs in their natural unit, float32, shaped as `head` gives them.

        Log-probabilities of classes or letters; logits of labels; values of a regression.
        """
        found = self.head(features, mask)
        exclusive = self.head_type == "language" or self.problem == "single_label"
        return found.log_softmax(-1) if exclusive else found

    def logits(self, ids: Ids | Tensor, mask: Real | None = None) -> NDArray[np.float32]:
        """Outputs for token ids (B, L): (B, L, K), of a sequence head (B, K)."""
        if self.pools_cls:
            return self.head(self.cls_features(ids, mask)).cpu().numpy()
        return self.head(self.features(ids, mask), mask).cpu().numpy()

    def _mask(self, mask: Real | Tensor | None) -> Tensor | None:
        """The mask on the device; none where it hides nothing, which is faster."""
        if mask is None or bool(mask.all()):
            return None
        return torch.as_tensor(mask).to(self.device)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Compute in the network's precision, without gradients."""
        narrow = self.precision == "bfloat16"
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=narrow):
            yield


def find_device(accelerator: str, index: int = 0) -> torch.device:
    """The device of an accelerator's name.

    Args:
        accelerator: `auto` (the first there is of `cuda`, `mps`, `cpu`), `cpu`, `cuda` or `mps`.
        index: which of several GPUs.

    Raises:
        InputError: the machine has no such device.
    """
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    have["cpu"] = True
    if accelerator == "auto":
        accelerator = next(name for name in ("cuda", "mps", "cpu") if have[name])
    if accelerator not in have:
        raise InputError(f"accelerator: {accelerator!r} is not known; auto, cpu, cuda or mps")
    if not have[accelerator]:
        raise InputError(f"accelerator: this machine has no {accelerator}; choose cpu")
    if accelerator != "cuda":
        return torch.device(accelerator)
    if index >= torch.cuda.device_count():
        raise InputError(f"devices: this machine has {torch.cuda.device_count()} GPUs")
    return torch.device("cuda", index)
