"""The Hugging Face classes over a backbone and its heads, registered with the `Auto` classes.

After this module is imported, `AutoConfig`, `AutoModel`, `AutoModelForMaskedLM`,
`AutoModelForSequenceClassification`, `AutoModelForTokenClassification` and `AutoTokenizer` open
Helicon's folders with `from_pretrained`, without remote code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args, no_type_check

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
        _check_values(self)
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
        if self.problem_type is not None:
            _one_of("problem_type", self.problem_type, list(PROBLEM_TYPES.values()))
        alphabet = ALPHABETS[self.backbone_config.alphabet]
        self.alphabet = alphabet.name
        self.vocab_size = len(alphabet.vocabulary)
        self.mask_token_id, self.pad_token_id = alphabet.mask_id, alphabet.pad_id
        self._check_labels()
        self._check_weights()

    def _check_labels(self) -> None:
        names: dict[Any, Any] = self.id2label or {}
        if sorted(names) != list(range(len(names))):
            raise InputError(f"id2label: ids must be 0 to {len(names) - 1}, not {sorted(names)}")
        if wrong := [name for name in names.values() if not isinstance(name, str)]:
            raise InputError(f"id2label: {wrong[0]!r} is no name; write it in quotes")
        owners: dict[str, int] = {}
        for i in range(len(names)):
            if names[i] in owners:
                raise InputError(
                    f"id2label: {owners[names[i]]} and {i} have one name, {names[i]!r}, and would "
                    "be written to one column or file; give each class a name of its own"
                )
            owners[names[i]] = i

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


def _check_values(config: HeliconConfig) -> None:
    """Refuse values of the wrong type or size; the library takes any."""
    if not isinstance(config.architecture, str):
        raise InputError(f"architecture must be a name, not {config.architecture!r}")
    if not isinstance(config.backbone, dict | None):
        raise InputError(f"backbone must be the network's settings, not {config.backbone!r}")
    names = config.id2label
    if not isinstance(names, dict | None) or not all(str(key).isdecimal() for key in names or {}):
        raise InputError(f"id2label must name the outputs by their ids, not {names!r}")
    least = {"cls_tokens": 0, "pair_width": 1, "pair_blocks": 1, "pair_separation": 1}
    for key, lowest in least.items():
        value = getattr(config, key)
        if type(value) is not int or value < lowest:
            raise InputError(f"{key} must be an integer of at least {lowest}, not {value!r}")
    if not _is_number(config.head_dropout) or not 0 <= config.head_dropout < 1:
        raise InputError(f"head_dropout must be in [0, 1), not {config.head_dropout!r}")
    weights = config.class_weights
    if weights is not None and not (
        isinstance(weights, list | tuple) and all(_is_number(w) and w >= 0 for w in weights)
    ):
        raise InputError(f"class_weights must be finite numbers from 0 up, not {weights!r}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{key} must be {' or '.join(known)}, not {value!r}")


class Asked(NamedTuple):
    """What the library's tools may ask of any model beside its inputs; PEFT names all."""

    output_hidden_states: bool | None = None
    output_attentions: bool | None = None
    inputs_embeds: Tensor | None = None


class Read(NamedTuple):
    """What a head reads: features, the mask of real positions, and what every layer made."""

    features: Features
    mask: Mask | None
    layers: tuple[Features, ...] | None


class HeliconPreTrainedModel(PreTrainedModel):
    """What the models share: a `.backbone`, its features, and how weights start.

    `input_ids` are token ids `(B, L)`, or a soft one-hot `(B, L, V)` of floats over the letters.
    `attention_mask` `(B, L)`, of any number type, is non-zero at real positions; without it all
    positions count as real, padding symbols too. `output_hidden_states` adds `hidden_states`, what
    every layer made: from 0, what follows the stem, to the number of layers.
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
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        layers: list[Features] | None = None,
    ) -> tuple[Features, Mask | None]:
        """The backbone's output (B, L, D), and the mask of real positions as booleans.

        Args:
            input_ids: see the class.
            attention_mask: see the class.
            layers: takes up what every layer made; see `Backbone.forward`.
        """
        mask = None if attention_mask is None else attention_mask.bool()
        return self.backbone(input_ids, mask, layers=layers), mask

    def _read(self, inputs: Tokens | None, mask: AttentionMask | None, asked: Asked) -> Read:
        """What the head reads, and with `output_hidden_states` what every layer made.

        Raises:
            InputError: something is asked for that these networks do not have.
        """
        if asked.inputs_embeds is not None or inputs is None:
            raise InputError(
                "inputs_embeds: these networks read letters; give token ids (B, L), or a soft "
                "one-hot (B, L, V) of floats, as input_ids"
            )
        if asked.output_attentions:
            raise InputError("output_attentions: these networks give none; leave it out")
        wanted = asked.output_hidden_states
        if wanted is None:
            wanted = self.config.output_hidden_states
        layers: list[Features] | None = [] if wanted else None
        features, real = self.features(inputs, mask, layers)
        return Read(features, real, None if layers is None else tuple(layers))

    def cls_features(
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        layer: int | None = None,
        layers: list[Features] | None = None,
    ) -> Features:
        """The backbone's output (B, `cls_tokens`, D) at blank tokens put behind each sequence.

        Args:
            input_ids: see the class.
            attention_mask: see the class.
            layer: see `Backbone.forward`.
            layers: takes up what every layer made there.

        Raises:
            InputError: the model was pretrained without such tokens.
        """
        count = self.config.cls_tokens
        check_cls(count)
        mask = None if attention_mask is None else attention_mask.bool()
        longer, grown, columns = with_blanks(input_ids, mask, count, self.backbone.alphabet)
        features = at_blanks(self.backbone(longer, grown, layer, layers), columns)
        if layers is not None:
            layers[:] = [at_blanks(one, columns) for one in layers]
        return features

    def _task_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        problem, weights = self.config.problem, self.config.class_weights
        if problem is None:
            problem = _inferred_problem(labels, logits.shape[-1])
            self.config.problem_type = PROBLEM_TYPES[problem]  # as the library's own models do
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
        self,
        input_ids: Tokens | None = None,
        attention_mask: AttentionMask | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> BaseModelOutput:
        """Features (B, L, D) as `last_hidden_state`."""
        asked = Asked(output_hidden_states, output_attentions, inputs_embeds)
        read = self._read(input_ids, attention_mask, asked)
        return BaseModelOutput(last_hidden_state=read.features, hidden_states=read.layers)


class HeliconForMaskedLM(HeliconPreTrainedModel):
    """A backbone and its head to the alphabet's letters, in the alphabet's order."""

    def __init__(self, config: HeliconConfig):
        super().__init__(config)
        self.lm_head = self.backbone.language_head()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tokens | None = None,
        attention_mask: AttentionMask | None = None,
        labels: Num[Tensor, "batch length"] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> MaskedLMOutput:
        """Logits (B, L, V); with labels, letter ids (B, L) or -100, their mean cross-entropy."""
        asked = Asked(output_hidden_states, output_attentions, inputs_embeds)
        read = self._read(input_ids, attention_mask, asked)
        logits = self.lm_head(read.features)
        loss = None if labels is None else task_loss(logits, labels, "single_label")
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=read.layers)


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
        self,
        input_ids: Tokens,
        attention_mask: AttentionMask | None = None,
        layers: list[Features] | None = None,
    ) -> tuple[Features, Mask | None]:
        """What the head pools, and its mask: features of positions, or of CLS tokens (all real)."""
        if self.config.pool == "cls":
            return self.cls_features(input_ids, attention_mask, layers=layers), None
        return super().features(input_ids, attention_mask, layers)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tokens | None = None,
        attention_mask: AttentionMask | None = None,
        labels: Num[Tensor, "batch ..."] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Logits (B, outputs); with labels, the loss (see `heads.task_loss`)."""
        asked = Asked(output_hidden_states, output_attentions, inputs_embeds)
        read = self._read(input_ids, attention_mask, asked)
        logits = self.classifier(read.features, read.mask)
        loss = None if labels is None else self._task_loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=read.layers)


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
        input_ids: Tokens | None = None,
        attention_mask: AttentionMask | None = None,
        labels: Num[Tensor, "batch length ..."] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> TokenClassifierOutput:
        """Logits (B, L, outputs); with labels, the loss over labelled real positions."""
        asked = Asked(output_hidden_states, output_attentions, inputs_embeds)
        read = self._read(input_ids, attention_mask, asked)
        logits = self.classifier(read.features)
        loss = None if labels is None else self._task_loss(logits, _visible(labels, read.mask))
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=read.layers)


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
