"""From a model to one that can be fine-tuned: new head, frozen parts, low-rank adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from helicon.errors import InputError
from helicon.metrics.targets import Target
from helicon.models.hub import (
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconPreTrainedModel,
    with_head,
)
from helicon.models.huggingface.contacts import HeliconForContacts, with_pair_head
from helicon.models.parts.heads import HeadKind, Pooling
from helicon.models.registry import BackboneConfig, configured

Supervised = HeliconForSequenceClassification | HeliconForTokenClassification | HeliconForContacts


@dataclass(frozen=True)
class HeadSettings:
    """The part of the network that is new.

    Attributes:
        pool: how positions become one vector (sequences only): `mean`, `max` or `attention`; or
            CLS tokens, `cls`.
        head: `linear`, or `mlp` with one hidden layer.
        dropout: probability, before each linear layer of the head.
        backbone_dropout: probability in the backbone; `None` for what the model has.
        pair_width: contacts: channels of a pair.
        pair_blocks: contacts: residual blocks over pairs.
        pair_separation: contacts: residues that a pair is apart at least.
    """

    pool: Pooling = "mean"
    head: HeadKind = "linear"
    dropout: float = 0.1
    backbone_dropout: float | None = None
    pair_width: int = 32
    pair_blocks: int = 10
    pair_separation: int = 6


def adapt(
    source: HeliconPreTrainedModel,
    task: Literal["sequence", "token", "pair"],
    target: Target,
    settings: HeadSettings,
    *,
    scratch: bool,
    seed: int,
    class_weights: Sequence[float] | None = None,
) -> Supervised:
    """Put a new head on a copy of a model, the same for the same seed.

    Args:
        source: the model; it stays as it is.
        task: one output row a `sequence`, one a `token`, or one a `pair` of them.
        target: what is to be predicted.
        settings: of the head.
        scratch: draw all weights anew, in the architecture of `source`.
        seed: of the new weights.
        class_weights: of the loss, kept in the model's configuration.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = source.config.backbone_config
        if settings.backbone_dropout is not None:
            config = configured(config, dropout=float(settings.backbone_dropout))
        model = _new(source, config)
        if not scratch:
            model.backbone.load_state_dict(source.backbone.state_dict())
        if task == "pair":
            return with_pair_head(
                model,
                width=settings.pair_width,
                blocks=settings.pair_blocks,
                dropout=settings.dropout,
                separation=settings.pair_separation,
                positive_weight=None if class_weights is None else class_weights[0],
            )
        adapted, _ = with_head(
            model,
            task,
            target.problem,
            target.names,
            pool=settings.pool,
            head=settings.head,
            dropout=settings.dropout,
            class_weights=class_weights,
        )
    return adapted


def drawn_anew(source: HeliconPreTrainedModel, seed: int) -> HeliconForMaskedLM:
    """A model like `source` with new weights: those from which `adapt` starts from scratch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _new(source, source.config.backbone_config).eval()


def _new(source: HeliconPreTrainedModel, config: BackboneConfig) -> HeliconForMaskedLM:
    """A language model with new weights, which has the CLS tokens of `source`."""
    made = HeliconConfig.of(config)
    made.cls_tokens = source.config.cls_tokens
    return HeliconForMaskedLM(made)


def check_weights(model: nn.Module, name: str) -> None:
    """Stop where the weights of a model are no numbers: so would be all that it gives.

    Raises:
        InputError: names the model.
    """
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise InputError(f"{name}: its weights hold values that are no numbers (NaN or infinite)")


def freeze(model: Supervised) -> None:
    """Train the head alone: the backbone keeps its weights and drops nothing."""
    model.backbone.requires_grad_(False)
    for module in model.backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


class LowRank:
    """Low-rank adapters (LoRA) in the linear layers of a backbone, through `peft`.

    The backbone's own weights, all its convolutions among them, stay as they are; the adapters and
    the head are trained. `merge` adds them to the weights: what is saved is a plain model.

    Args:
        model: its backbone is changed in place.
        rank: of the adapters.
        seed: of their first weights.

    Raises:
        InputError: `peft` is not installed, or the rank is below 1.
    """

    def __init__(self, model: Supervised, rank: int, seed: int):
        try:
            from peft import LoraConfig, LoraModel
        except ImportError as error:
            raise InputError("LoRA needs peft; install it: pip install 'helicon[peft]'") from error
        if rank < 1:
            raise InputError(f"lora: the rank must be at least 1, not {rank}")
        linear = [n for n, m in model.backbone.named_modules() if isinstance(m, nn.Linear)]
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=linear)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._adapters = LoraModel(model.backbone, config, "default")
        model.train()

    def merge(self) -> None:
        """Add the adapters to the weights that they adapt, and remove them."""
        self._adapters.merge_and_unload()


def fold_unit(model: Supervised, target: Target) -> None:
    """Make a regression model, trained on standardised numbers, give the unit of the data."""
    last = last_layer(model)
    scale, mean = torch.tensor(target.scale), torch.tensor(target.mean)
    with torch.no_grad():
        last.weight.mul_(scale[:, None])
        last.bias.mul_(scale).add_(mean)


def last_layer(model: Supervised) -> nn.Linear:
    """The linear layer that gives a model's outputs."""
    assert not isinstance(model, HeliconForContacts)
    layer = model.classifier.layers[-1]
    assert isinstance(layer, nn.Linear)
    return layer


def set_linear(layer: nn.Linear, weight: np.ndarray, bias: np.ndarray) -> None:
    """Write weights (outputs, inputs) and biases (outputs,) into a layer."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
