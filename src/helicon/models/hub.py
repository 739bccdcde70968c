"""Models by path or name, and new heads on pretrained backbones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from helicon.errors import InputError
from helicon.models.huggingface.card import Metric, ModelCard
from helicon.models.huggingface.classes import (
    PROBLEM_TYPES,
    HeliconConfig,
    HeliconForMaskedLM,
    HeliconForSequenceClassification,
    HeliconForTokenClassification,
    HeliconModel,
    HeliconPreTrainedModel,
    check_cls,
)
from helicon.models.huggingface.folder import (
    ADAPTER,
    CONFIG,
    INDEX,
    WEIGHTS,
    load_folder,
    one_line,
    read_values,
    save,
    shard_names,
)
from helicon.models.huggingface.tokenizer import dna_tokenizer
from helicon.models.parts.heads import HeadKind, Pooling, Problem
from helicon.models.parts.layout import NetworkName
from helicon.models.published import published_folder
from helicon.models.registry import CHECKPOINTS, SIZES, size, unknown_size

__all__ = [
    "HeadReport",
    "HeliconConfig",
    "HeliconForMaskedLM",
    "HeliconForSequenceClassification",
    "HeliconForTokenClassification",
    "HeliconModel",
    "HeliconPreTrainedModel",
    "Metric",
    "ModelCard",
    "NetworkName",
    "check_cls",
    "dna_tokenizer",
    "is_untrained",
    "load",
    "network_folder",
    "save",
    "untrained",
    "with_head",
]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def load(path_or_name: str | Path, network: NetworkName | None = None) -> HeliconPreTrainedModel:
    """Open a model, in evaluation mode.

    Args:
        path_or_name: looked up in this order: a named size (its published weights, fetched at
            first use, where it has some; else a masked language model with new weights, drawn
            from torch's global generator), a run folder (its `model`), a model folder (the class
            that it was saved as), a Hugging Face id (`owner/name`).
        network: of a self-distilled run; the `teacher` if not given, which is its `model`.

    Raises:
        InputError: there is no such model or network, or its folder is incomplete or damaged;
            names the file. Published weights cannot be reached; says what to do by hand.
        WorkError: the transfer of published weights broke off, or the disk is full.
    """
    path_or_name = network_folder(path_or_name, network)
    name = str(path_or_name)
    if name in CHECKPOINTS:
        return load_folder(published_folder(name))
    if name in SIZES:
        return untrained(name)
    path = Path(path_or_name)
    if path.is_dir():
        return load_folder(_model_folder(path))
    if path.exists():
        raise InputError(
            f"{path}: is a file, a model is a folder; `helicon convert` reads published checkpoints"
        )
    named = isinstance(path_or_name, str) and _HUB_ID.fullmatch(name)
    if named and not path.parent.exists():  # `runs/mistyped` is no reason to ask the network
        return load_folder(_fetched(name))
    if "/" in name or "\\" in name:
        raise InputError(f"{path}: no such model folder; check the path")
    raise unknown_size(name)


def network_folder(path_or_name: str | Path, network: NetworkName | None = None) -> str | Path:
    """What `load` takes for one of the networks of a self-distilled run.

    Args:
        path_or_name: what `load` takes.
        network: see `load`; the teacher is any model's own network.

    Returns:
        `path_or_name` for the teacher, and else the folder of the student.

    Raises:
        InputError: there is no student.
    """
    if network not in (None, *get_args(NetworkName)):
        raise InputError(f"network: {network!r} is not known; teacher or student")
    if network != "student":
        return path_or_name
    student = Path(path_or_name) / "student"
    if not student.is_dir():
        raise InputError(
            f"{path_or_name}: has no student network; only the run folder of a self-distillation "
            "holds one, so leave network out, or name such a folder"
        )
    return student


def untrained(name: str) -> HeliconForMaskedLM:
    """A masked language model of a named size with new weights, in evaluation mode.

    The weights are drawn from torch's global generator. Nothing is ever fetched.

    Raises:
        InputError: there is no such size; names the nearest, or all.
    """
    return HeliconForMaskedLM(HeliconConfig.of(size(name))).eval()


def is_untrained(name: str | Path) -> bool:
    """Whether `load` gives new weights: those of a named size that has no published ones."""
    return str(name) in SIZES and str(name) not in CHECKPOINTS


def _model_folder(path: Path) -> Path:
    """The model folder that `path` is, or that it holds if it is a run folder."""
    if (path / CONFIG).exists() or (path / ADAPTER).exists():
        return path
    if (path / "model").is_dir():
        return path / "model"
    if (path / "recipe.toml").exists():
        raise InputError(f"{path}: this run has no model yet; let it end, or resume it")
    if (path / WEIGHTS).exists():
        raise InputError(f"{path}: {CONFIG} is missing; copy the whole model folder again")
    raise InputError(f"{path}: holds neither a model nor a run ({CONFIG} is missing)")


def _fetched(name: str) -> Path:
    """The local folder of a Hugging Face id, fetched if it is not in the cache."""
    try:
        config = Path(hf_hub_download(name, CONFIG))
        read_values(config.parent)
        try:
            hf_hub_download(name, WEIGHTS)
        except EntryNotFoundError:
            hf_hub_download(name, INDEX)
            for shard in shard_names(config.parent):
                hf_hub_download(name, shard)
    except RepositoryNotFoundError as error:
        raise InputError(f"{name}: no such folder, nor public Hugging Face model") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{name}: no such folder here, and Hugging Face cannot be reached for a model of that "
            "name; check the path or the connection"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(
            f"{name}: this Hugging Face model has no {CONFIG} or {WEIGHTS}; an adapter of PEFT "
            "must be merged into its model first (merge_and_unload)"
        ) from error
    except OSError as error:
        raise InputError(f"{name}: could not be fetched ({one_line(error)})") from error
    return config.parent


@dataclass(frozen=True)
class HeadReport:
    """What became of the weights when a head was put on a backbone.

    Attributes:
        unused: weights of the source model that the new one has no place for (its old head).
        new: weights of the new model that start from random numbers (its head).
    """

    unused: tuple[str, ...]
    new: tuple[str, ...]


def with_head(
    source: HeliconPreTrainedModel | str | Path,
    task: Literal["sequence", "token"],
    problem: Problem,
    labels: Sequence[str] | int,
    *,
    pool: Pooling = "mean",
    head: HeadKind = "linear",
    dropout: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[HeliconForSequenceClassification | HeliconForTokenClassification, HeadReport]:
    """Put a new head on a copy of a pretrained backbone; the backbone is kept whole.

    Args:
        source: a model, or what `load` takes.
        task: one output row a `sequence`, or one a `token`.
        problem: `single_label`, `multi_label` or `regression`.
        labels: names of the classes, labels or targets in id order, or how many there are.
        pool: how a sequence head pools positions; `cls` pools CLS tokens.
        head: `linear` or `mlp`.
        dropout: probability, before each linear layer of the head.
        class_weights: one a label (see `heads.task_loss`).

    Returns:
        The model, in training mode, and which weights were left out or are new.

    Raises:
        InputError: there is no such model, the labels do not fit the problem, or the model has no
            CLS tokens to pool.
    """
    model = source if isinstance(source, HeliconPreTrainedModel) else load(source)
    names = [f"LABEL_{i}" for i in range(labels)] if isinstance(labels, int) else list(labels)
    if len(names) < (2 if problem == "single_label" else 1):
        raise InputError(f"{len(names)} label: {problem} needs more; check the label column")
    config = HeliconConfig(
        architecture=model.config.architecture,
        backbone=model.config.backbone,
        pool=pool,
        head=head,
        head_dropout=dropout,
        class_weights=None if class_weights is None else [float(w) for w in class_weights],
        cls_tokens=model.config.cls_tokens,
        problem_type=PROBLEM_TYPES[problem],
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    cls = HeliconForSequenceClassification if task == "sequence" else HeliconForTokenClassification
    new = cls(config)
    new.backbone.load_state_dict(model.backbone.state_dict())
    return new.train(), HeadReport(unused=_head_keys(model), new=_head_keys(new))


def _head_keys(model: HeliconPreTrainedModel) -> tuple[str, ...]:
    return tuple(key for key in model.state_dict() if not key.startswith("backbone."))
