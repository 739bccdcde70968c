"""Batches are chosen by the memory there is; what does not fit is refused in one line."""

import time
from dataclasses import replace

import pytest
import torch
from small_networks import CONFIG, language_model, write_genome

from helicon.errors import InputError
from helicon.forward import memory
from helicon.forward.network import Network
from helicon.forward.tiles import Tiling
from helicon.inference.embed import embed
from helicon.models.hub import save


def free(monkeypatch, count):
    monkeypatch.setattr(memory, "free_bytes", lambda _: count)


def test_with_enough_memory_a_batch_is_what_the_device_takes_best(monkeypatch):
    free(monkeypatch, 2**40)
    assert memory.letters_at_once(Network(language_model())) == 2**20 // 32
    wide = Network(language_model(replace(CONFIG, d_model=128)))
    assert memory.letters_at_once(wide) == 2**20 // 128


def test_a_batch_is_halved_until_it_fits(monkeypatch):
    network = Network(language_model())
    whole = memory.bytes_of(network, 2**15)
    free(monkeypatch, int(whole / 3 / 0.8))
    assert memory.letters_at_once(network) == 2**13
    free(monkeypatch, 2**40)
    assert memory.letters_at_once(network) == 2**13  # chosen once


def test_the_estimate_is_no_less_than_what_is_used():
    network = Network(language_model(replace(CONFIG, d_model=64)))
    estimate = memory.bytes_of(network, 20_000)
    largest = 4 * 64 * 20_000  # one float32 activation
    assert 4 * largest < estimate < 40 * largest
    assert memory.bytes_of(network, 40_000) == pytest.approx(2 * estimate)


def test_estimating_is_cheap():
    network = Network.open("convnova-base")
    began = time.monotonic()
    memory.letters_at_once(network)
    assert time.monotonic() - began < 1


def test_what_does_not_fit_is_refused(monkeypatch, tmp_path):
    network = Network(language_model(replace(CONFIG, d_model=32)))
    free(monkeypatch, int(1.01 * memory.bytes_of(network, 10_000) / 0.8))
    Tiling.of(network, 100_000, window=10_000)
    with pytest.raises(InputError, match="a window of 20,000 letters needs about") as caught:
        Tiling.of(network, 100_000, window=20_000)
    assert "and cpu has" in str(caught.value) and "use --window 10" in str(caught.value)
    free(monkeypatch, 1000)
    with pytest.raises(InputError, match="use a machine with more"):
        Tiling.of(Network(language_model()), 100_000, window=20_000)


def test_a_network_that_sees_everything_reads_whole_what_fits(monkeypatch, tmp_path):
    config = replace(CONFIG, branch="reverse_complement")
    folder = save(language_model(config), tmp_path / "model")
    data = write_genome(tmp_path / "s.fa", [50, 40_000])
    network = Network(language_model(config))
    free(monkeypatch, memory.bytes_of(network, 20_000))
    with pytest.raises(InputError, match=r"a window of 40,000 letters needs.*use --window"):
        embed(folder, data, out=tmp_path / "e.parquet")
    done = embed(folder, data, out=tmp_path / "e.parquet", window=4000)
    assert done.sequences == 2


def test_a_long_job_says_its_batches(capsys):
    network = Network(language_model())
    memory.describe("embed", network, memory.LONG - 1)
    assert capsys.readouterr().err == ""
    memory.describe("embed", network, memory.LONG)
    said = capsys.readouterr().err
    assert said.startswith("embed: 10,000,000 letters in batches of about 32,768, each about")
    assert said.endswith("free on cpu (float32)\n") and said.count("\n") == 1


def test_free_memory_of_this_machine():
    assert 2**20 < memory.free_bytes(torch.device("cpu")) < 2**50


def test_a_group_with_a_limit(tmp_path, monkeypatch):
    files = {"memory.max": "4096\n", "memory.current": "3000\n"}
    files["memory.stat"] = "anon 1\ninactive_file 100\nactive_file 50\n"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.free_bytes(torch.device("cpu")) == 4096 - 3000 + 150
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) > 2**20
