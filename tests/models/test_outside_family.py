"""A family of networks from outside of the package, in a few lines, works everywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from small_networks import write_genome
from torch import nn

import helicon
from helicon.models import registry
from helicon.models.parts.backbone import Backbone, keep, one_hot
from helicon.models.parts.family import Family


@dataclass(frozen=True)
class ToyConfig:
    alphabet: ClassVar[str] = "dna"

    d_model: int = 8
    kernel: int = 3


class Tied(nn.Module):
    """A head that shares its weights with the backbone, which alone holds them."""

    def __init__(self, embedding: nn.Linear):
        super().__init__()
        self.shared = [embedding]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features @ self.shared[0].weight


class Toy(Backbone):
    """A causal long convolution through a Fourier transform."""

    architecture: ClassVar[str] = "toy"

    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(5, config.d_model, bias=False)
        self.taps = nn.Linear(config.kernel, config.d_model, bias=False)

    @property
    def d_model(self) -> int:
        return self.config.d_model

    @property
    def receptive_field(self) -> int:
        return 2 * self.config.kernel - 1

    @property
    def causal(self) -> bool:
        return True

    @property
    def layers(self) -> int:
        return 1

    def language_head(self) -> nn.Module:
        return Tied(self.embedding)

    def uncounted(self, length: int) -> int:
        return length

    def forward(self, x, mask=None, layer=None, layers=None):
        rows = self.embedding(one_hot(x, 5, self.embedding.weight.dtype))
        rows = rows if mask is None else rows * mask.unsqueeze(-1)
        keep(layers, rows)
        if layer == 0:
            return rows
        size = x.shape[1] + self.config.kernel
        spectrum = torch.fft.rfft(rows.float(), n=size, dim=1)
        filters = torch.fft.rfft(self.taps.weight.mT.float(), n=size, dim=0)
        found = torch.fft.irfft(spectrum * filters, n=size, dim=1)[:, : x.shape[1]] + rows
        keep(layers, found)
        return found


@pytest.fixture
def toy() -> Iterator[str]:
    registry.register(Family(Toy, ToyConfig, sizes={"toy-tiny": ToyConfig()}))
    yield "toy-tiny"
    del registry.FAMILIES["toy"], registry.SIZES["toy-tiny"]


def test_it_pretrains_fine_tunes_embeds_is_reloaded_and_described(toy: str, tmp_path: Path):
    genome = write_genome(tmp_path / "genome.fa", [6000])
    run = helicon.pretrain(
        genome,
        out=tmp_path / "run",
        model=toy,
        steps=1,
        length=64,
        batch_size=2,
        split_block=500,
        validation_windows=2,
        test_windows=2,
    )
    model = helicon.load(run.model)
    assert type(model.backbone) is Toy and "lm_head.weight" not in model.state_dict()
    x = torch.randint(0, 4, (2, 30))
    assert model(x).logits.shape == (2, 30, 5)
    found = model(x, output_hidden_states=True).hidden_states
    assert torch.equal(found[1], model.backbone(x))
    about = helicon.info(run.model)
    assert (about.architecture, about.receptive_field) == ("toy", 5)
    assert about.flops_per_letter > 1 + 2 * 5 * 8  # the transforms are counted too
    table = tmp_path / "train.csv"
    rows = [f"{'ACGT'[i % 4] * 20},{'yes' if i % 4 < 2 else 'no'}" for i in range(40)]
    table.write_text("\n".join(["sequence,label", *rows, ""]))
    tuned = helicon.finetune(run.model, table, target="label", out=tmp_path / "task", steps=1)
    assert type(helicon.load(tuned.model).backbone) is Toy
    helicon.embed(run.model, genome, out=tmp_path / "features.parquet")
    assert (tmp_path / "features.parquet").exists()
    how = model.backbone.substitutions()
    with torch.no_grad():
        changed = how.of(how.reference(x[0]), torch.tensor([9]), torch.tensor([[3]]))
        whole = x[:1].clone()
        whole[0, 9] = 3
        wanted = model.backbone(whole)[0, changed.places[0]]
    torch.testing.assert_close(changed.features[0], wanted, atol=1e-5, rtol=0)
