"""ConvNova's named sizes and layouts."""

from helicon.models.convnova.network import ConvNova, ConvNovaConfig
from helicon.models.convnova.published import ConvNovaLayout
from helicon.models.parts.family import Family

#: The plain name and `-base` are the published pretraining configuration; the published downstream
#: configurations drop the feed-forward layers.
FAMILY = Family(
    backbone=ConvNova,
    config=ConvNovaConfig,
    sizes={
        "convnova-tiny": ConvNovaConfig(d_model=32),
        "convnova-small": ConvNovaConfig(d_model=64),
        "convnova-base": ConvNovaConfig(),
        "convnova": ConvNovaConfig(),
        "convnova-nt": ConvNovaConfig(feed_forward=False),
        "convnova-genomic-benchmarks": ConvNovaConfig(
            d_model=64, kernel=5, mlp_ratio=4, feed_forward=False
        ),
    },
    layouts=(ConvNovaLayout(),),
)
