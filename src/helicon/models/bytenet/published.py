"""CARP's published layout: a `.pt` that holds its own settings.

The settings (`d_model`, `n_layers`, ...) stand beside the weights, which are under
`model_state_dict`. Two are not in the file, because the published loader fixes them: the last
normalisation is always there, and nothing is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from helicon.errors import InputError
from helicon.models.huggingface.classes import HeliconConfig, HeliconForMaskedLM
from helicon.models.registry import config_from_dict

TITLE = "CARP"
SUMMARY = "Weights in the layout of CARP's code (Yang, Fusi and Lu, Cell Systems 2024), converted."
#: Key of the weights.
STATE = "model_state_dict"

#: Official module -> ours, in regular expressions over whole key prefixes.
RENAMED = (
    (r"embedder\.embedder", "backbone.embedding"),
    (r"embedder\.up_embedder\.conv", "backbone.widen"),
    (r"embedder\.layers\.(\d+)\.sequence1\.0", r"backbone.blocks.\1.norm_in"),
    (r"embedder\.layers\.(\d+)\.sequence1\.2\.conv", r"backbone.blocks.\1.narrow"),
    (r"embedder\.layers\.(\d+)\.sequence1\.3", r"backbone.blocks.\1.norm"),
    (r"embedder\.layers\.(\d+)\.conv", r"backbone.blocks.\1.conv"),
    (r"embedder\.layers\.(\d+)\.sequence2\.0", r"backbone.blocks.\1.norm_out"),
    (r"embedder\.layers\.(\d+)\.sequence2\.2\.conv", r"backbone.blocks.\1.widen"),
    (r"last_norm", "backbone.norm"),
    (r"decoder\.conv", "lm_head"),
)

#: Official setting -> ours.
_SETTINGS = {
    "d_embed": "d_embedding",
    "d_model": "d_model",
    "n_layers": "blocks",
    "kernel_size": "kernel",
    "activation": "activation",
    "slim": "slim",
    "r": "max_dilation",
}
#: What only a file of BiGCARP holds: its letters are protein domains.
_DOMAINS = ("tokens", "pfam_to_domain")


def network(path: Path, content: Mapping[str, Any]) -> HeliconForMaskedLM:
    """A language model without memory, as the file's settings say.

    Args:
        path: the checkpoint, for messages.
        content: what it holds.

    Raises:
        InputError: it is a relative of CARP, or a setting is missing or wrong.
    """
    _refuse_relatives(path, content)
    if missing := [key for key in _SETTINGS if key not in content]:
        raise InputError(f"{path}: lacks the settings {', '.join(missing)} of a CARP checkpoint")
    values = {ours: content[key] for key, ours in _SETTINGS.items()}
    found = {m[1] for key in content[STATE] if (m := re.match(r"embedder\.layers\.(\d+)\.", key))}
    if found != set(map(str, range(len(found)))) or len(found) != values["blocks"]:
        raise InputError(
            f"{path}: n_layers is {values['blocks']!r}, but there are weights of {len(found)} "
            "layers; fetch it again"
        )
    reach = values["max_dilation"]
    if type(reach) is int and reach > 1:  # the published code takes the power of two below
        values["max_dilation"] = 1 << (reach.bit_length() - 1)
    try:
        config = config_from_dict("bytenet", values | {"dropout": 0.0, "blank": "mask"})
    except InputError as error:
        raise InputError(f"{path}: its settings are not CARP's: {error}") from error
    with torch.device("meta"):
        return HeliconForMaskedLM(HeliconConfig.of(config))


def _refuse_relatives(path: Path, content: Mapping[str, Any]) -> None:
    name = str(content.get("model", "")).lower()
    kind = "MIF" if name.startswith("mif") else ""
    if name.startswith("bigcarp") or any(key in content for key in _DOMAINS):
        kind = "BiGCARP"
    if kind:
        raise InputError(f"{path}: is a {kind} checkpoint, which is not read; CARP's are")
