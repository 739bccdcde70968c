"""CARP's named sizes, layout and published weights."""

from helicon.models.bytenet.network import ByteNet, ByteNetConfig
from helicon.models.bytenet.published import CarpLayout
from helicon.models.parts.family import Checkpoint, Family


def _carp(size: str, sha256: str) -> Checkpoint:
    """CARP's weights: Yang, Fusi and Lu, DOI 10.5281/zenodo.6564798."""
    file = f"carp_{size}.pt"
    address = f"https://zenodo.org/record/6564798/files/{file}?download=1"
    return Checkpoint(f"carp-{size.lower()}", address, file, sha256, CarpLayout.name)


_LARGEST = _carp("640M", "ae1d7e0cbe713c731cfde7ace213f2a73372c31d8df543089e6b6d371228c4f7")

FAMILY = Family(
    backbone=ByteNet,
    config=ByteNetConfig,
    sizes={
        "carp-600k": ByteNetConfig(d_model=128, blocks=16, slim=True),
        "carp-38m": ByteNetConfig(d_model=1024, blocks=16, slim=True),
        "carp-76m": ByteNetConfig(d_model=1024, blocks=32, slim=True),
        "carp-640m": ByteNetConfig(),
        "carp": ByteNetConfig(),
        "protein-cnn": ByteNetConfig(d_model=96, blocks=2, max_dilation=2),
    },
    layouts=(CarpLayout(),),
    checkpoints={
        "carp-600k": _carp(
            "600k", "787f618e90cfdd6cbe2d98ab944e89dea00e972d81019181aba14bbf31e96e1e"
        ),
        "carp-38m": _carp(
            "38M", "b66b68bce0fd690c780032140297de8fea1f94bfa5ecd67fb408ab3a3794cc3b"
        ),
        "carp-76m": _carp(
            "76M", "7d224abac5eb2d5d649353352acb58efcae94277d26e25f1ac2cf90598205264"
        ),
        "carp-640m": _LARGEST,
        "carp": _LARGEST,
    },
)
