"""What every test shares."""

import gzip
import os
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import language_model, sequence_model, token_model, write_genome

from helicon.data.genome.genome import Genome
from helicon.forward.network import Network
from helicon.machine.precision import whole_float32
from helicon.models.hub import save

# A gzip header holds the time: bytes made while tests are collected would differ between processes.
gzip.compress = partial(gzip.compress, mtime=0)
# Training is in float32 whatever the processor; tests of bfloat16 ask for it, or set this to 1.
os.environ["HELICON_BFLOAT16"] = "0"


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> str | None:
    """Name a case of bytes that are no readable text by its length and checksum."""
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return f"{argname}-{len(val)}-{zlib.crc32(val):08x}"
    return None


def devices() -> list[str]:
    """The devices of this machine."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


@pytest.fixture(params=devices())
def device(request: pytest.FixtureRequest) -> torch.device:
    whole_float32()
    return torch.device(request.param)


@pytest.fixture
def tiny_language() -> Network:
    return Network(language_model())


@pytest.fixture
def tiny_token() -> Network:
    return Network(token_model())


@pytest.fixture
def tiny_sequence() -> Network:
    return Network(sequence_model())


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """The three as model folders, for jobs and the command line."""
    models = {"language": language_model(), "token": token_model(), "sequence": sequence_model()}
    return {name: save(model, tmp_path / "models" / name) for name, model in models.items()}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def random_genome(tmp_path: Path) -> Callable[..., Genome]:
    """`random_genome([100, 5000], seed=0, unknown=[(1, 200, 260)])`: contigs `c0`, `c1`, ..."""

    def make(
        lengths: Sequence[int],
        seed: int = 0,
        unknown: Sequence[tuple[int, int, int]] = (),
        name: str = "genome.fa",
    ) -> Genome:
        return Genome.open(write_genome(tmp_path / name, lengths, seed, unknown))

    return make
