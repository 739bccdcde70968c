"""Named sizes with published weights: fetched to be adapted, never to be trained from scratch."""

import pytest
import torch

from helicon.errors import InputError
from helicon.models.hub import load, save, untrained
from helicon.models.parts.family import MIRROR
from helicon.training.finetune.finetune import finetune


@pytest.fixture(autouse=True)
def unreachable(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(MIRROR, "http://127.0.0.1:9")


@pytest.fixture
def table(tmp_path):
    letters = "ACDEFGHIKL"
    rows = [(letters[i:] + "MKTW" * (1 + i % 2) + letters[:i], i % 2) for i in range(10)]
    rows += [(sequence + "GG", label) for sequence, label in rows]
    path = tmp_path / "t.csv"
    path.write_text("sequence,label\n" + "".join(f"{s},{label}\n" for s, label in rows))
    return path


OPTIONS = {
    "steps": 1,
    "batch_size": 4,
    "eval_every": 1,
    "accelerator": "cpu",
    "precision": "float32",
}


def test_from_scratch_nothing_is_fetched(tmp_path, table):
    done = finetune("carp-600k", table, out=tmp_path / "run", scratch=True, **OPTIONS)
    model = load(done.model)
    assert model.backbone.config.d_model == 128
    assert model.backbone.alphabet.name == "protein"
    assert not (tmp_path / "cache" / "models").exists()
    with pytest.raises(InputError, match=r"cannot be reached .* put it here as"):
        finetune("carp-600k", table, out=tmp_path / "other", **OPTIONS)


def test_published_weights_are_what_is_adapted(tmp_path, table):
    """The cache's folder stands for the download, which has tests of its own."""
    torch.manual_seed(5)
    published = save(untrained("carp-600k"), tmp_path / "cache" / "models" / "carp-600k" / "model")
    done = finetune("carp-600k", table, out=tmp_path / "run", freeze=True, accelerator="cpu")
    backbone = load(published).backbone.state_dict()
    assert all(
        torch.equal(backbone[k], v) for k, v in load(done.model).backbone.state_dict().items()
    )
