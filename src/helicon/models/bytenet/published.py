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

from helicon.errors import InputError
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.parts.config import whole
from helicon.models.parts.layout import Layout, Opened

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


class CarpLayout(Layout):
    """See the module's docstring."""

    name = "carp"
    title = "CARP"
    summary = (
        "Weights in the layout of CARP's code (Yang, Fusi and Lu, Cell Systems 2024), converted."
    )
    state = "model_state_dict"
    language = True
    known_by = r"embedder\.up_embedder\.conv\.weight"
    renamed = (
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

    def config(self, opened: Opened) -> ByteNetConfig:
        """See `Layout`.

        Raises:
            InputError: it is a relative of CARP, or a setting is missing or wrong.
        """
        path, content = opened.path, opened.content
        _refuse_relatives(path, content)
        if missing := [key for key in _SETTINGS if key not in content]:
            raise InputError(
                f"{path}: lacks the settings {', '.join(missing)} of a CARP checkpoint"
            )
        values = {ours: content[key] for key, ours in _SETTINGS.items()}
        blocks = (re.match(r"embedder\.layers\.(\d+)\.", key) for key in content[self.state])
        found = {match[1] for match in blocks if match}
        if found != set(map(str, range(len(found)))) or len(found) != values["blocks"]:
            raise InputError(
                f"{path}: n_layers is {values['blocks']!r}, but there are weights of {len(found)} "
                "layers; fetch it again"
            )
        reach = values["max_dilation"]
        if type(reach) is int and reach > 1:  # the published code takes the power of two below
            values["max_dilation"] = 1 << (reach.bit_length() - 1)
        try:
            return whole("carp", ByteNetConfig, values | {"dropout": 0.0, "blank": "mask"})
        except InputError as error:
            raise InputError(f"{path}: its settings are not CARP's: {error}") from error


def _refuse_relatives(path: Path, content: Mapping[str, Any]) -> None:
    name = str(content.get("model", "")).lower()
    kind = "MIF" if name.startswith("mif") else ""
    if name.startswith("bigcarp") or any(key in content for key in _DOMAINS):
        kind = "BiGCARP"
    if kind:
        raise InputError(f"{path}: is a {kind} checkpoint, which is not read; CARP's are")
