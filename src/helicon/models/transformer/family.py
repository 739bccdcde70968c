"""The Transformer's named sizes."""

from helicon.models.parts.family import Family
from helicon.models.transformer.network import Transformer, TransformerConfig

#: Each has about as many parameters as the ConvNova or CARP whose size it is named after.
FAMILY = Family(
    backbone=Transformer,
    config=TransformerConfig,
    sizes={
        "transformer-tiny": TransformerConfig(d_model=48, heads=3),
        "transformer-small": TransformerConfig(d_model=96, heads=3),
        "transformer-base": TransformerConfig(),
        "transformer": TransformerConfig(),
        "transformer-600k": TransformerConfig("protein", d_model=128, blocks=3, heads=4),
        "transformer-38m": TransformerConfig("protein", d_model=512, blocks=12, heads=8),
    },
)
