"""Small networks and genomes for the tests of inference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from helicon.alphabet import DNA
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, HeliconPreTrainedModel, with_head

#: Receptive field 9 + 4 * (1 + 1 + 1 + 2) = 29.
CONFIG = ConvNovaConfig(d_model=8, blocks=4, kernel=5, dilation=2)
#: Receptive field 1 + 4 * (1 + 2 + 4 + 8) = 61.
PROTEIN = ByteNetConfig(d_model=16, blocks=4, slim=True, max_dilation=128)
GENES = ("intergenic", "forward", "reverse")


def stir(model: HeliconPreTrainedModel, seed: int = 0) -> HeliconPreTrainedModel:
    """Weights that make every part of the network matter, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            noise = torch.randn(value.shape, generator=generator)
            value.add_(noise * 0.3 / max(1, value[0].numel()) ** 0.5)
    return model.eval()


def language_model(config: ConvNovaConfig = CONFIG, seed: int = 0) -> HeliconForMaskedLM:
    torch.manual_seed(seed)
    return stir(HeliconForMaskedLM(HeliconConfig.of(config)))  # type: ignore[return-value]


def token_model(config: ConvNovaConfig = CONFIG, seed: int = 0) -> HeliconPreTrainedModel:
    torch.manual_seed(seed)
    return stir(with_head(language_model(config, seed), "token", "single_label", GENES)[0])


def sequence_model(config: ConvNovaConfig = CONFIG, seed: int = 0) -> HeliconPreTrainedModel:
    torch.manual_seed(seed)
    return stir(
        with_head(language_model(config, seed), "sequence", "single_label", ("no", "yes"))[0]
    )


def protein_model(config: ByteNetConfig = PROTEIN, seed: int = 0) -> HeliconForMaskedLM:
    torch.manual_seed(seed)
    return stir(HeliconForMaskedLM(HeliconConfig.of(config)))  # type: ignore[return-value]


def write_genome(
    path: Path,
    lengths: Sequence[int],
    seed: int = 0,
    unknown: Sequence[tuple[int, int, int]] = (),
) -> Path:
    rng = np.random.default_rng(seed)
    contigs = [rng.integers(0, 4, length).astype(np.uint8) for length in lengths]
    for contig, start, end in unknown:
        contigs[contig][start:end] = DNA.letters.index("N")
    texts = [f">c{i} contig\n{DNA.decode(ids)}\n" for i, ids in enumerate(contigs)]
    path.write_text("".join(texts))
    return path
