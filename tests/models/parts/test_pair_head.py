"""The head over pairs: order, padding, crops and tiles never change a pair; models reload."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel

from helicon.errors import InputError
from helicon.models.bytenet.network import ByteNetConfig
from helicon.models.convnova.network import ConvNovaConfig
from helicon.models.hub import HeliconConfig, HeliconForMaskedLM, load, save
from helicon.models.huggingface.contacts import HeliconForContacts, with_pair_head
from helicon.models.parts import pair_head
from helicon.models.parts.pair_head import PairHead, separation_kind, windows_at

BACKBONE = ByteNetConfig(d_model=12, blocks=2, max_dilation=2)


def stirred(module: torch.nn.Module) -> torch.nn.Module:
    """Weights that make every part matter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.2)
    return module.eval()


@pytest.fixture
def head() -> PairHead:
    torch.manual_seed(0)
    return stirred(PairHead(12, 2, width=8, blocks=6))


@pytest.fixture
def model() -> HeliconForContacts:
    torch.manual_seed(0)
    source = HeliconForMaskedLM(HeliconConfig.of(BACKBONE))
    return stirred(with_pair_head(source, width=8, blocks=3))


def features(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, length, 12, generator=torch.Generator().manual_seed(seed))


def test_it_is_outer_concatenation_into_a_dilated_residual_network(head):
    x = features(1, 40)
    h = head.narrow(head.norm(x))[0]
    rows = torch.cat([h.unsqueeze(1).expand(-1, 40, -1), h.unsqueeze(0).expand(40, -1, -1)], -1)
    apart = (torch.arange(40)[:, None] - torch.arange(40)).abs()
    z = rows @ head.join.weight.T + head.join.bias + head.separation(separation_kind(apart))
    for block, dilation in zip(head.blocks, (1, 2, 4, 8, 16, 1), strict=True):
        y = F.gelu(F.layer_norm(z, (8,), block.norm.weight, block.norm.bias))
        y = y.permute(2, 0, 1).unsqueeze(0)
        conv = block.conv
        y = F.conv2d(y, conv.weight, conv.bias, padding=dilation, dilation=dilation)
        z = z + y[0].permute(1, 2, 0)
    z = head.out(F.gelu(head.norm_out(z)))
    expected = (z + z.transpose(0, 1)) / 2
    assert torch.allclose(head(x)[0], expected, atol=1e-5)
    assert head.reach == 1 + 2 + 4 + 8 + 16 + 1


def test_the_order_of_a_pair_does_not_matter(head):
    found = head(features(2, 30))
    assert found.shape == (2, 30, 30, 2)
    assert torch.equal(found, found.transpose(1, 2))
    assert found.std() > 0.01


def test_padding_never_changes_a_real_pair(head):
    x = features(2, 37)
    alone = head(x[:1, :21])
    mask = torch.arange(37) < torch.tensor([[21], [37]])
    padded = head(x, mask)
    assert torch.allclose(padded[:1, :21, :21], alone, atol=1e-5)
    x[0, 21:] = 1e3
    assert torch.allclose(head(x, mask)[:1, :21, :21], alone, atol=1e-5)


@pytest.mark.parametrize("length", [33, 64, 90])
def test_tiles_are_exactly_one_pass(head, length, monkeypatch):
    x, mask = features(2, length), torch.arange(length) < torch.tensor([[length - 3], [length]])
    monkeypatch.setattr(pair_head, "TILE", 16)
    with torch.no_grad():
        tiled = head(x, mask)
    whole = head(x, mask)
    real = mask.unsqueeze(2) & mask.unsqueeze(1)
    assert torch.allclose(tiled[real], whole[real].detach(), atol=1e-5)
    assert torch.equal(tiled, tiled.transpose(1, 2))


def test_a_crop_whose_edges_are_the_proteins_is_the_map(head):
    x = features(2, 50)
    whole, none = head.whole(x), torch.zeros(2, dtype=torch.long)
    # As wide as the protein and further: what lies beyond counts as padding.
    wide = windows_at(whole, none, 60)
    assert torch.allclose(head.between(wide, wide)[:, :50, :50], head(x), atol=1e-5)


def test_crops_are_of_the_pairs_that_were_asked_for(head):
    x = features(2, 200)
    rows, columns, side = torch.tensor([10, 0]), torch.tensor([100, 120]), 80
    whole = head.whole(x)
    crop = head.between(windows_at(whole, rows, side), windows_at(whole, columns, side))
    other = head.between(windows_at(whole, columns, side), windows_at(whole, rows, side))
    assert torch.allclose(crop, other.transpose(1, 2), atol=1e-6)
    full, reach = head(x), head.reach
    for i in range(2):
        # Further inside than the head reaches the edges of a crop are not felt.
        a, b = int(rows[i]), int(columns[i])
        inner = full[i, a + reach : a + side - reach, b + reach : b + side - reach]
        assert torch.allclose(crop[i, reach : side - reach, reach : side - reach], inner, atol=1e-5)


@pytest.mark.parametrize("cast", [False, True])
def test_it_runs_in_bfloat16_and_still_ranks_pairs_finely(head, cast):
    x = features(1, 40)
    with torch.no_grad():
        exact = head(x)
        if cast:
            found = head.bfloat16()(x.bfloat16())
        else:
            with torch.autocast("cpu", torch.bfloat16):
                found = head(x)
            assert found.dtype == torch.float32
            row, column = torch.triu_indices(40, 40, 6)
            assert len(found[0, row, column, 0].unique()) > 0.95 * len(row)
    assert torch.corrcoef(torch.stack([found.float().ravel(), exact.ravel()]))[0, 1] > 0.99


def test_separations_are_told_apart_finely_near_by():
    kinds = separation_kind(torch.tensor([0, 1, 3, 7, 6, 12, 24, 10**6]))
    assert kinds.tolist() == [0, 4, 8, 12, 11, 14, 18, 39]


def test_the_model_gives_one_logit_a_pair_and_the_loss_of_known_ones(model):
    ids = torch.randint(0, 20, (2, 30), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(30) < torch.tensor([[30], [22]])
    labels = torch.randint(-1, 2, (2, 30, 30), generator=torch.Generator().manual_seed(1))
    labels[1, 22:] = labels[1, :, 22:] = -1
    found = model(ids, mask, labels)
    known = labels >= 0
    expected = F.binary_cross_entropy_with_logits(found.logits[known], labels[known].float())
    assert torch.allclose(found.loss, expected)
    alone = model(ids[1:, :22]).logits
    assert torch.allclose(found.logits[1:, :22, :22], alone, atol=1e-5)
    nothing = model(ids, mask, torch.full_like(labels, -1)).loss
    assert nothing == 0


def test_a_crop_of_the_model_sees_the_whole_protein(model):
    ids = torch.randint(0, 20, (1, 60), generator=torch.Generator().manual_seed(0))
    start = torch.tensor([0])
    crop = model(ids, rows=start, columns=start, side=40).logits
    changed = ids.clone()
    changed[0, 41] = (ids[0, 41] + 1) % 20
    # The backbone reaches six residues beyond the crop.
    assert not torch.allclose(model(changed, rows=start, columns=start, side=40).logits, crop)


def test_a_fresh_process_opens_the_folder(model, tmp_path):
    folder = save(model, tmp_path / "model")
    ids = torch.arange(20).unsqueeze(0)
    script = f"""
import helicon, torch
from transformers import AutoModel
model = helicon.load({str(folder)!r})
assert type(model).__name__ == "HeliconForContacts", type(model)
ids = torch.arange(20).unsqueeze(0)
with torch.no_grad():
    features = AutoModel.from_pretrained({str(folder)!r})(ids)[0]
    torch.save([model(ids).logits, features], {str(tmp_path / "out.pt")!r})
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)
    logits, found = torch.load(tmp_path / "out.pt")
    with torch.no_grad():
        assert torch.equal(logits, model(ids).logits)
        assert torch.equal(found, model.backbone(ids))
    again = load(folder)
    assert (again.config.pair_width, again.config.pair_blocks) == (8, 3)
    assert again.config.labels == ["contact"]
    card = (folder / "README.md").read_text()
    assert 'helicon.load("PATH' in card and "AutoModelFor" not in card


def test_a_new_head_keeps_the_backbone_and_its_settings():
    source = HeliconForMaskedLM(HeliconConfig.of(BACKBONE))
    model = with_pair_head(source, separation=12, positive_weight=3.0, dropout=0.2)
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value)
    assert model.training
    assert model.config.pair_separation == 12
    assert model.config.class_weights == [3.0]
    with torch.no_grad():
        chance = model.eval()(torch.arange(20).unsqueeze(0)).logits.sigmoid()
    assert chance.mean() < 0.2, "contacts are rare before training, too"


def test_what_makes_no_head_is_refused():
    protein = HeliconForMaskedLM(HeliconConfig.of(BACKBONE))
    with pytest.raises(InputError, match="pair width: must be at least 1, not 0"):
        with_pair_head(protein, width=0)
    dna = HeliconForMaskedLM(HeliconConfig.of(ConvNovaConfig(d_model=8, blocks=1)))
    with pytest.raises(InputError, match="reads DNA"):
        with_pair_head(dna)


def test_auto_model_opens_the_backbone_alone(model, tmp_path):
    folder = save(model, tmp_path / "model")
    assert type(AutoModel.from_pretrained(folder)).__name__ == "HeliconModel"
