"""ConvNova's published layout: a PyTorch Lightning `.ckpt`.

The weights stand under `state_dict`, the network's behind `model.`, a fine-tuned head behind
`decoder.0.output_transform`. What shapes tell is read from shapes; a convolution's dilation leaves
no trace in them and is asked for.
"""

from __future__ import annotations

import re

from helicon.alphabet import DNA
from helicon.errors import InputError
from helicon.models.convnova.network import STEM_KERNEL, ConvNovaConfig
from helicon.models.parts.layout import Layout, Opened

#: Number of convolutions in every published configuration; with another number, how they group
#: into stacks has to be said.
PUBLISHED_CONVOLUTIONS = 5


class ConvNovaLayout(Layout):
    """See the module's docstring."""

    name = "convnova"
    title = "ConvNova"
    summary = "Weights in the layout of ConvNova's code (Bo et al., ICLR 2025), converted."
    state = "state_dict"
    known_by = r"model\.milinear\.0\.weight"
    renamed = (
        (r"model\.linear", "backbone.stem"),
        (r"model\.rc_linear", "backbone.gate_stem"),
        (r"model\.convs\.(\d+)", r"backbone.blocks.\1.conv"),
        (r"model\.gates\.(\d+)", r"backbone.blocks.\1.gate"),
        (r"model\.norms\.(\d+)", r"backbone.blocks.\1.norm"),
        (r"model\.rc_norms\.(\d+)", r"backbone.blocks.\1.gate_norm"),
        (r"model\.mlpgroup2\.(\d+)\.([02])", r"backbone.blocks.\1.feed_forward.\2"),
        (r"model\.milinear\.(\d+)", r"backbone.mlp.\1"),
        (r"model\.final_conv\.([02])", r"backbone.final_conv.\1"),
        (r"model\.out_linear", "lm_head"),
        (r"decoder\.0\.output_transform", "classifier.layers.1"),
    )
    dropped = (r"(train|val|test)_torchmetrics\..*", r"loss.*")
    options = frozenset({"dilation", "stacks", "schedule", "problem"})

    def config(self, opened: Opened) -> ConvNovaConfig:
        """See `Layout`."""
        path, weights, told = opened.path, opened.weights, opened.told
        needed = ("backbone.stem.weight", "backbone.blocks.0.conv.weight", "backbone.mlp.0.weight")
        if any(name not in weights or weights[name].ndim < 2 for name in needed):
            raise InputError(f"{path}: lacks model.linear, model.convs or model.milinear")
        stem, conv, wide = (weights[name].shape for name in needed)
        if tuple(stem[1:]) != (DNA.size, STEM_KERNEL):
            raise InputError(f"{path}: model.linear.weight has shape {tuple(stem)}: not ConvNova's")
        if told.dilation is None:
            raise InputError(
                f"{path}: shapes do not tell the dilation; give --dilation (4 in the published "
                "runs)"
            )
        convolutions = sum(
            bool(re.fullmatch(r"backbone\.blocks\.\d+\.conv\.weight", n)) for n in weights
        )
        if told.stacks is None and convolutions != PUBLISHED_CONVOLUTIONS:
            raise InputError(
                f"{path}: shapes do not tell how its {convolutions} convolutions form stacks; give "
                "--stacks (1 in the published runs)"
            )
        stacks = told.stacks or 1
        if convolutions % stacks:
            raise InputError(
                f"{path}: --stacks {stacks} does not divide {convolutions} convolutions"
            )
        return ConvNovaConfig(
            d_model=stem[0],
            blocks=convolutions // stacks,
            stacks=stacks,
            kernel=conv[-1],
            dilation=told.dilation,
            schedule=told.schedule or "official",
            feed_forward=any(".feed_forward." in name for name in weights),
            mlp_ratio=wide[0] // stem[0],
            final_conv=any(".final_conv." in name for name in weights),
            mask_reads_as="N",
        )
