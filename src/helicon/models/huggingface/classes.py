"""The Hugging Face classes over a backbone and its heads, registered with the `Auto` classes.

After this module is imported, `AutoConfig`, `AutoModel`, `AutoModelForMaskedLM`,
`AutoModelForSequenceClassification`, `AutoModelForTokenClassification` and `AutoTokenizer` open
Helicon's folders with `from_pretrained`, without remote code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args, no_type_check

import torch
from jaxtyping import Num, Shaped
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import can_return_tuple

from helicon.alphabet import ALPHABETS
from helicon.errors import InputError
from helicon.models.parts.backbone import Features, Mask, Tokens
from helicon.models.parts.blanks import at_blanks, with_blanks
from helicon.models.parts.heads import (
    HEAD_KINDS,
    IGNORE,
    POOLINGS,
    HeadKind,
    Pooling,
    Problem,
    SequenceHead,
    TokenHead,
    task_loss,
)
from helicon.models.registry import (
    BackboneConfig,
    architecture_of,
    backbone,
    config_from_dict,
    config_to_dict,
    family,
)

#: Hugging Face's name of each problem.
PROBLEM_TYPES: dict[
    Problem, Literal["single_label_classification", "multi_label_classification", "regression"]
] = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}

AttentionMask = Shaped[Tensor, "batch length"]


@no_type_check  # a run-time checker binds the base's **kwargs to the fields alone, and fails
class HeliconConfig(PreTrainedConfig):
    """Everything that determines a Helicon model: `config.json`.

    Attributes:
        architecture: a name of `registry.FAMILIES`.
        backbone: every field of the backbone's config; `None` for the architecture's defaults.
        pool: how a sequence head pools positions, or CLS tokens.
        head: `linear` or `mlp`.
        head_dropout: probability, before each linear layer of the head.
        class_weights: one a label, for the loss (see `heads.task_loss`); `None` for all equal.
        cls_tokens: blank tokens behind a sequence (see `blanks`) with which the model was trained.
        pair_width: channels of a pair, in the head of a model of contacts.
        pair_blocks: residual blocks of that head.
        pair_separation: residues that its pairs are apart at least.
        alphabet: the name of the backbone's alphabet; with `vocab_size`, `mask_token_id` and
            `pad_token_id` it follows from the backbone's config.

    The problem is kept in Hugging Face's `problem_type`, the labels' names in its `id2label`.

    Raises:
        InputError: names the key that is unknown, missing, or of the wrong type.
    """

    model_type = "helicon"

    architecture: str = "convnova"
    backbone: dict[str, Any] | None = None
    pool: str = "mean"
    head: str = "linear"
    head_dropout: float = 0.0
    class_weights: list[float] | None = None
    cls_tokens: int = 0
    pair_width: int = 32
    pair_blocks: int = 10
    pair_separation: int = 6

    def __post_init__(self, **kwargs: Any) -> None:
        defaults = family(self.architecture).config
        if self.backbone is None:
            self.backbone = config_to_dict(defaults())
        else:
            self.backbone = config_to_dict(config_from_dict(self.architecture, self.backbone))
        _one_of("pool", self.pool, POOLINGS)
        _one_of("head", self.head, HEAD_KINDS)
        if self.pool == "cls":
            check_cls(self.cls_tokens)
        super().__post_init__(**kwargs)
        alphabet = ALPHABETS[self.backbone_config.alphabet]
        self.alphabet = alphabet.name
        self.vocab_size = len(alphabet.vocabulary)
        self.mask_token_id, self.pad_token_id = alphabet.mask_id, alphabet.pad_id
        self._check_weights()

    def _check_weights(self) -> None:
        if self.class_weights is None:
            return
        if self.problem_type == "regression":
            raise InputError("class_weights: a regression has no classes; leave them out")
        if len(self.class_weights) != len(self.labels):
            raise InputError(
                f"class_weights: {len(self.class_weights)} weights for {len(self.labels)} labels; "
                "give one a label"
            )

    @classmethod
    def of(cls, config: BackboneConfig) -> HeliconConfig:
        """The configuration of a model without a supervised head, over a backbone's config."""
        return cls(architecture=architecture_of(config), backbone=config_to_dict(config))

    @property
    def backbone_config(self) -> BackboneConfig:
        """The backbone's config, as its dataclass."""
        return config_from_dict(self.architecture, self.backbone or {})

    @property
    def labels(self) -> list[str]:
        """Names of the classes, labels or regression targets, in id order."""
        names: dict[Any, str] = self.id2label or {}
        return [names[i] for i in range(len(names))]

    @property
    def problem(self) -> Problem | None:
        """The problem that the head solves, in Helicon's terms; `None` if never said."""
        names = {theirs: ours for ours, theirs in PROBLEM_TYPES.items()}
        return None if self.problem_type is None else names[self.problem_type]


def check_cls(cls_tokens: int) -> None:
    """Refuse to pool CLS tokens of a model that has none.

    Raises:
        InputError: says so.
    """
    if cls_tokens < 1:
        raise InputError(
            "pool: cls needs a model that was pretrained with CLS tokens, and this one has none "
            "(cls_tokens is 0); choose mean, max or attention"
        )


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{key} must be {' or '.join(known)}, not {value!r}")


class HeliconPreTrainedModel(PreTrainedModel):
    """What the models share: a `.backbone`, its features, and how weights start.

    `input_ids` are token ids `(B, L)`, or a soft one-hot `(B, L, V)` of floats over the letters.
    `attention_mask` `(B, L)`, of any number type, is non-zero at real positions; without it all
    positions count as real, padding symbols too.
    """

    config_class = HeliconConfig
    config: HeliconConfig
    base_model_prefix = "helicon"
    main_input_name = "input_ids"

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.backbone = backbone(config.backbone_config)

    def init_weights(self) -> None:
        """Keep the weights that the modules drew when they were made.

        The library would draw them a second time, module by module: another state of the random
        generator than the bare backbone's, and no longer equal copies in a stack.
        """

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights that a loaded file lacks (a new head); called for every module."""
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()

    def features(
        self, input_ids: Tokens, attention_mask: AttentionMask | None = None
    ) -> tuple[Features, Mask | None]:
        """The backbone's output (B, L, D), and the mask of real positions as booleans."""
        mask = None if attention_mask is None else attention_mask.bool()
        return self.backbone(input_ids, mask), mask

    def cls_features(
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        layer: int | None = None,
    ) -> Features:
        """The backbone's output (B, `cls_tokens`, D) at blank tokens put behind each sequence.

        Raises:
            InputError: the model was pretrained without such tokens.
        """
        count = self.config.cls_tokens
        check_cls(count)
        mask = None if attention_mask is None else attention_mask.bool()
        longer, grown, columns = with_blanks(input_ids, mask, count, self.backbone.alphabet)
        return at_blanks(self.backbone(longer, grown, layer), columns)

    def _task_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        problem, weights = self.config.problem, self.config.class_weights
        if problem is None:
            problem = _inferred_problem(labels, logits.shape[-1])
        return task_loss(
            logits,
            labels,
            problem,
            None if weights is None else torch.tensor(weights, device=logits.device),
        )


def _inferred_problem(labels: Tensor, outputs: int) -> Problem:
    """The problem of a model that was never told: the library's own rule."""
    if outputs == 1:
        return "regression"
    return "multi_label" if labels.is_floating_point() else "single_label"


class HeliconModel(HeliconPreTrainedModel):
    """The backbone alone: `last_hidden_state` is its output, before any head."""

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self, input_ids: Tokens, attention_mask: AttentionMask | None = None
    ) -> BaseModelOutput:
        """Features (B, L, D) as `last_hidden_state`."""
        return BaseModelOutput(last_hidden_state=self.features(input_ids, attention_mask)[0])


class HeliconForMaskedLM(HeliconPreTrainedModel):
    """A backbone and its head to the alphabet's letters, in the alphabet's order."""

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.lm_head = self.backbone.language_head()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        labels: Num[Tensor, "batch length"] | None = None,
    ) -> MaskedLMOutput:
        """Logits (B, L, V); with labels, letter ids (B, L) or -100, their mean cross-entropy."""
        logits = self.lm_head(self.features(input_ids, attention_mask)[0])
        loss = None if labels is None else task_loss(logits, labels, "single_label")
        return MaskedLMOutput(loss=loss, logits=logits)


class HeliconForSequenceClassification(HeliconPreTrainedModel):
    """A backbone and a head with one row of outputs a sequence (regression too)."""

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.classifier = SequenceHead(
            self.backbone.d_model,
            len(config.labels),
            pool=_narrowed(config.pool, Pooling),
            kind=_narrowed(config.head, HeadKind),
            dropout=config.head_dropout,
        )
        self.post_init()

    def features(
        self, input_ids: Tokens, attention_mask: AttentionMask | None = None
    ) -> tuple[Features, Mask | None]:
        """What the head pools, and its mask: features of positions, or of CLS tokens (all real)."""
        if self.config.pool == "cls":
            return self.cls_features(input_ids, attention_mask), None
        return super().features(input_ids, attention_mask)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        labels: Num[Tensor, "batch ..."] | None = None,
    ) -> SequenceClassifierOutput:
        """Logits (B, outputs); with labels, the loss (see `heads.task_loss`)."""
        logits = self.classifier(*self.features(input_ids, attention_mask))
        loss = None if labels is None else self._task_loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class HeliconForTokenClassification(HeliconPreTrainedModel):
    """A backbone and a head with one row of outputs a position (regression too)."""

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.classifier = TokenHead(
            self.backbone.d_model,
            len(config.labels),
            kind=_narrowed(config.head, HeadKind),
            dropout=config.head_dropout,
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        labels: Num[Tensor, "batch length ..."] | None = None,
    ) -> TokenClassifierOutput:
        """Logits (B, L, outputs); with labels, the loss over labelled real positions."""
        features, mask = self.features(input_ids, attention_mask)
        logits = self.classifier(features)
        loss = None if labels is None else self._task_loss(logits, _visible(labels, mask))
        return TokenClassifierOutput(loss=loss, logits=logits)


def _narrowed(value: str, literal: Any) -> Any:
    """A string of the config, which the config has checked, as the literal that a head takes."""
    assert value in get_args(literal)
    return value


def _visible(labels: Tensor, mask: Mask | None) -> Tensor:
    """Labels with those of padded positions taken out."""
    if mask is None:
        return labels
    hidden = ~mask if labels.ndim == 2 else ~mask.unsqueeze(-1)
    return labels.masked_fill(hidden, torch.nan if labels.is_floating_point() else IGNORE)


AutoConfig.register(HeliconConfig.model_type, HeliconConfig)
AutoModel.register(HeliconConfig, HeliconModel)
AutoModelForMaskedLM.register(HeliconConfig, HeliconForMaskedLM)
AutoModelForSequenceClassification.register(HeliconConfig, HeliconForSequenceClassification)
AutoModelForTokenClassification.register(HeliconConfig, HeliconForTokenClassification)
