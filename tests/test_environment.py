"""The set-up script: where packages come from, what is tried in which order, when it is done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import environment  # noqa: E402


def answers(monkeypatch, said: str = "", code: int = 0) -> None:
    """Let every program that is started say the same."""
    done = subprocess.CompletedProcess([], code, said, "")
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: done)


def test_pips_settings_become_uvs_and_the_environment_wins(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    answers(
        monkeypatch,
        "global.index-url='https://one.example/simple'\n"
        "global.extra-index-url='https://two.example https://three.example'\n"
        "global.timeout='60'\n"
        ":env:.index-url='https://mirror.example/simple'\n",
    )
    assert environment.registries() == [
        "--default-index", "https://mirror.example/simple",
        "--index", "https://two.example", "--index", "https://three.example",
        "--index-strategy", "unsafe-best-match",
    ]  # fmt: skip


def test_no_settings_are_no_options(monkeypatch):
    answers(monkeypatch)
    assert environment.registries() == []


@pytest.mark.parametrize(("gpu", "tries"), [(None, 5), ("/usr/bin/nvidia-smi", 2)])
def test_a_machine_without_a_gpu_looks_for_the_cpu_build_first(gpu, tries, monkeypatch):
    answers(monkeypatch)
    monkeypatch.setattr(environment, "has_torch", lambda: False)
    monkeypatch.setattr(environment.sys, "platform", "linux")
    monkeypatch.setattr(environment.shutil, "which", lambda _: gpu)
    commands = [command for _, command in environment.attempts(["--editable", "."])]
    assert len(commands) == tries
    assert ("+cpu" in commands[0][-1]) == (gpu is None)
    assert "+cpu" not in commands[-1][-1]
    assert all("--upgrade" not in command for command in commands)


def test_a_second_set_up_leaves_the_pytorch_that_is_there(monkeypatch):
    answers(monkeypatch)
    monkeypatch.setattr(environment, "has_torch", lambda: True)
    tries = list(environment.attempts([]))
    assert [what for what, _ in tries] == [
        "beside the PyTorch that is there",
        "beside the PyTorch that is there, by pip",
    ]


def test_done_is_what_a_finished_set_up_of_this_kind_says(tmp_path, monkeypatch):
    for name in ("STAMP", "UNFINISHED", "PYTHON"):
        monkeypatch.setattr(environment, name, tmp_path / name)
    assert environment.installed("key") is None
    environment.PYTHON.touch()
    environment.STAMP.write_text(json.dumps({"key": "key", "groups": ["test"]}))
    assert environment.installed("key") == ["test"]
    assert environment.installed("of other pins") is None
    environment.UNFINISHED.touch()
    assert environment.installed("key") is None
