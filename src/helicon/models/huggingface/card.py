"""Model cards: the `README.md` of a model folder, from what the run knows."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from helicon.models.huggingface.classes import (
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconPreTrainedModel,
)
from helicon.models.huggingface.contacts import HeliconForContacts

#: Model class -> (the hub's name of the task, the class that opens the folder).
_TASKS: dict[type[HeliconPreTrainedModel], tuple[str, str]] = {
    HeliconForMaskedLM: ("fill-mask", "AutoModelForMaskedLM"),
    HeliconForSequenceClassification: (
        "text-classification",
        "AutoModelForSequenceClassification",
    ),
    HeliconForTokenClassification: ("token-classification", "AutoModelForTokenClassification"),
}


@dataclass(frozen=True)
class Metric:
    """One measured number.

    Attributes:
        name: `accuracy`, `mcc`, ...
        value: the number.
        data: the data that it was measured on.
        split: `validation` or `test`.
    """

    name: str
    value: float
    data: str
    split: str = "test"


@dataclass(frozen=True)
class ModelCard:
    """What a model card says beyond what the model itself tells.

    Attributes:
        name: title of the card.
        summary: a paragraph on what the model is for.
        data: what it was trained on, one entry a data set.
        steps: training steps.
        metrics: measured numbers.
        recipe: the resolved recipe, as TOML text.
        base_model: the model that it was fine-tuned from or converted from.
        licence: SPDX identifier of the weights' licence; empty where it is not stated.
    """

    name: str = "Helicon model"
    summary: str = ""
    data: tuple[str, ...] = ()
    steps: int | None = None
    metrics: tuple[Metric, ...] = ()
    recipe: str = ""
    base_model: str = ""
    licence: str = ""


def card_text(model: HeliconPreTrainedModel, card: ModelCard) -> str:
    """The card as Markdown with a YAML front matter."""
    sections = [
        f"---\n{_front_matter(model, card)}\n---",
        f"# {plain(card.name)}",
        plain(card.summary),
        _facts(model, card),
        _use(model),
        _metrics(card),
        f"## Recipe\n\n{_fenced(card.recipe)}" if card.recipe else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(model: HeliconPreTrainedModel, card: ModelCard) -> str:
    task = _TASKS.get(type(model), ("feature-extraction", ""))[0]
    results = [
        EvalResult(
            task_type=task,
            dataset_type=metric.data,
            dataset_name=metric.data,
            dataset_split=metric.split,
            metric_type=metric.name,
            metric_value=metric.value,
        )
        for metric in card.metrics
    ]
    data = ModelCardData(
        license=card.licence or None,
        library_name="helicon",
        pipeline_tag=task,
        tags=["helicon", model.config.architecture, model.config.alphabet],
        model_name=card.name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _facts(model: HeliconPreTrainedModel, card: ModelCard) -> str:
    field = model.backbone.receptive_field
    rows = {
        "Architecture": f"{model.config.architecture}, `{type(model).__name__}`",
        "Parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "Receptive field": "the whole sequence" if field is None else f"{field:,} positions",
        "Alphabet": f"{model.config.alphabet} ({model.backbone.alphabet.letters})",
        "Outputs": _outputs(model),
        "Trained from": plain(card.base_model),
        "Training data": plain("; ".join(card.data)),
        "Training steps": "" if card.steps is None else f"{card.steps:,}",
        "Licence": plain(card.licence),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _outputs(model: HeliconPreTrainedModel) -> str:
    if not hasattr(model, "classifier"):
        return ""
    labels = [plain(label) for label in model.config.labels]
    return ", ".join([*labels[:20], *([f"... ({len(labels)} in all)"] if len(labels) > 20 else [])])


#: A few letters of each alphabet, for the example of use.
_LETTERS = {"dna": "ACGTACGT", "protein": "MKTAYIAKQR"}


def _use(model: HeliconPreTrainedModel) -> str:
    auto = _TASKS.get(type(model), ("", "AutoModel"))[1]
    names, opened = f"{auto}, AutoTokenizer", f"{auto}.from_pretrained"
    if type(model) is HeliconForContacts:  # the library has no class for pairs
        names, opened = "AutoTokenizer", "helicon.load"
    return f"""## Use

```python
import helicon
from transformers import {names}

model = {opened}("PATH_OF_THIS_FOLDER")
tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
output = model(**tokenizer("{_LETTERS[model.config.alphabet]}", return_tensors="pt"))
```"""


def _metrics(card: ModelCard) -> str:
    if not card.metrics:
        return ""
    rows = [
        f"| {plain(m.name)} | {m.value:.4g} | {plain(m.data)} | {plain(m.split)} |"
        for m in card.metrics
    ]
    header = ["## Metrics", "", "| Metric | Value | Data | Split |", "| --- | --- | --- | --- |"]
    return "\n".join([*header, *rows])


def plain(text: str) -> str:
    """Text that Markdown shows as it is: one line, without markup, tags or a table's bars."""
    signs = r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside of a word is none
    escaped = re.sub(signs, r"\\\g<0>", " ".join(text.split()))
    return html.escape(escaped, quote=False)


def _fenced(recipe: str) -> str:
    """A block of TOML, in a fence that nothing in it ends."""
    longest = max(map(len, re.findall("`+", recipe)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}toml\n{recipe.strip()}\n{fence}"
