"""The model of contacts: a backbone and a head over pairs of residues."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from transformers.utils import ModelOutput, can_return_tuple

from helicon.errors import InputError
from helicon.models.huggingface.classes import (
    PROBLEM_TYPES,
    AttentionMask,
    HeliconConfig,
    HeliconPreTrainedModel,
)
from helicon.models.parts.backbone import Tokens
from helicon.models.parts.heads import task_loss
from helicon.models.parts.pair_head import PairHead, Starts, windows_at

#: Logit of a contact before training: contacts are rare, a pair in twenty at most.
_RARE = -3.0

Maps = Float[Tensor, "batch rows columns"]


@dataclass
class ContactOutput(ModelOutput):
    """What `HeliconForContacts` gives.

    Attributes:
        loss: with labels, their mean loss.
        logits: of the pairs.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class HeliconForContacts(HeliconPreTrainedModel):
    """A backbone and a head with one logit a pair of residues, the same for both orders."""

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.pair_head = PairHead(
            self.backbone.d_model,
            width=config.pair_width,
            blocks=config.pair_blocks,
            dropout=config.head_dropout,
        )
        nn.init.constant_(self.pair_head.out.bias, _RARE)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        labels: Integer[Tensor, "batch rows columns"] | None = None,
        rows: Starts | None = None,
        columns: Starts | None = None,
        side: int | None = None,
    ) -> ContactOutput:
        """Logits (B, L, L) of all pairs, or (B, side, side) of a crop of each protein's.

        The backbone always reads whole proteins.

        Args:
            input_ids: tokens (B, L).
            attention_mask: non-zero at real positions, (B, L).
            labels: as the logits: 1 for a contact, 0 for none, negative where it is not known.
            rows: of crops: first row of each, (B,).
            columns: of crops: first column of each, (B,).
            side: of crops: rows and columns.

        Returns:
            Logits, and with labels their mean binary cross-entropy.
        """
        features, mask = self.features(input_ids, attention_mask)
        if rows is None or columns is None or side is None:
            logits = self.pair_head(features, mask).squeeze(-1)
        else:
            whole = self.pair_head.whole(features, mask)
            crops = windows_at(whole, rows, side), windows_at(whole, columns, side)
            logits = self.pair_head.between(*crops).squeeze(-1)
        loss = None if labels is None else self.contact_loss(logits, labels)
        return ContactOutput(loss=loss, logits=logits)

    def contact_loss(self, logits: Maps, labels: Integer[Tensor, "batch rows columns"]) -> Tensor:
        """Mean binary cross-entropy of the pairs whose label is not negative."""
        weights = self.config.class_weights
        return task_loss(
            logits.unsqueeze(-1),
            labels.unsqueeze(-1),
            "multi_label",
            None if weights is None else torch.tensor(weights, device=logits.device),
        )


def with_pair_head(
    source: HeliconPreTrainedModel,
    *,
    width: int = 32,
    blocks: int = 10,
    dropout: float = 0.0,
    separation: int = 6,
    positive_weight: float | None = None,
) -> HeliconForContacts:
    """Put a new pair head on a copy of a pretrained backbone.

    Args:
        source: the model.
        width: channels of a pair.
        blocks: residual blocks.
        dropout: probability in the head.
        separation: residues that a pair is apart at least, for pairs that are trained and told.
        positive_weight: of contacts in the loss.

    Returns:
        The model, in training mode.

    Raises:
        InputError: the model does not read proteins, or a size is below 1.
    """
    if source.config.alphabet != "protein":
        raise InputError("contacts are of residues, but this model reads DNA; choose another")
    for name, value in (("width", width), ("blocks", blocks), ("separation", separation)):
        if value < 1:
            raise InputError(f"pair {name}: must be at least 1, not {value}")
    config = HeliconConfig(
        architecture=source.config.architecture,
        backbone=source.config.backbone,
        head_dropout=dropout,
        class_weights=None if positive_weight is None else [positive_weight],
        cls_tokens=source.config.cls_tokens,
        pair_width=width,
        pair_blocks=blocks,
        pair_separation=separation,
        problem_type=PROBLEM_TYPES["multi_label"],
        id2label={0: "contact"},
        label2id={"contact": 0},
    )
    model = HeliconForContacts(config)
    model.backbone.load_state_dict(source.backbone.state_dict())
    return model.train()
