"""Checkpoints: whole or absent, the last two and the best, and equal weights after a round trip."""

import errno
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import helicon.training.run.checkpoint as checkpoint
from helicon.errors import WorkError
from helicon.training.loop.schedule import parameter_groups
from helicon.training.run.checkpoint import Checkpoints, gather, spread


def small(seed=0, steps=2):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=0.01, fused=True)
    for _ in range(steps):
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def saved(tmp_path, step, best=None, seed=0):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(step, gather(*small(seed)), {"step": step}, best)
    return checkpoints


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    model, optimizer = small()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, gather(model, optimizer), {"step": 2, "loss": 0.1}, None)
    again, its_optimizer = small(seed=1, steps=0)
    weights, state = checkpoints.load(2)
    spread(weights, again, its_optimizer)
    assert state == {"step": 2, "loss": 0.1}
    batch = torch.randn(8, 3)
    for network, stepper in ((model, optimizer), (again, its_optimizer)):
        network(batch).square().mean().backward()
        stepper.step()
    pairs = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_model_with_frozen_weights(tmp_path):
    def frozen(steps):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
        model[0].requires_grad_(False)
        optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), fused=True)
        for _ in range(steps):
            model(torch.ones(2, 3)).sum().backward()
            optimizer.step()
        return model, optimizer

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, gather(*frozen(1)), {}, None)
    weights, _ = checkpoints.load(1)
    assert set(weights.model) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert {key.split("/")[0] for key in weights.optimizer} == {"1.weight", "1.bias"}
    spread(weights, *frozen(0))


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for step, best in [(10, 10), (20, 10), (30, 10), (40, 10), (50, 50)]:
        checkpoints = saved(tmp_path, step, best)
        assert (
            checkpoints.steps()
            == {
                10: [10],
                20: [10, 20],
                30: [10, 20, 30],
                40: [10, 30, 40],
                50: [40, 50],
            }[step]
        )
    assert checkpoints.load_model(50).keys() == small()[0].state_dict().keys()


def test_what_a_kill_left_behind_is_removed(tmp_path):
    checkpoints = saved(tmp_path, 10)
    for left in (".step-00000020.1a2b.tmp", ".step-00000010.old", ".step-00000010.ab.old"):
        (checkpoints.folder / left).mkdir()
        (checkpoints.folder / left / "model.safetensors").write_text("half")
    checkpoints.clean()
    assert [p.name for p in checkpoints.folder.iterdir()] == ["step-00000010"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, monkeypatch, file):
    checkpoints = saved(tmp_path, 10)
    before = load_file(checkpoints.path(10) / "model.safetensors")

    def full(tensors, path):
        path.write_bytes(b"the first bytes")
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")

    def full_json(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    if file == "state.json":
        monkeypatch.setattr(json, "dumps", full_json)
    with pytest.raises(WorkError, match="the disk is full") as caught:
        checkpoints.save(20, gather(*small(seed=3)), {}, None)
    assert "\n" not in str(caught.value)
    assert [p.name for p in checkpoints.folder.iterdir()] == ["step-00000010"]
    after = load_file(checkpoints.path(10) / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoints = saved(tmp_path, 10)
    (checkpoints.path(10) / "optimizer.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(WorkError, match=r"step-00000010.*damaged"):
        checkpoints.load(10)
