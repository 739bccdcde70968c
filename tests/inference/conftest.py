"""Fixtures of the tests of inference."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from small_networks import language_model, sequence_model, token_model, write_genome

from helicon.data.genome import Genome
from helicon.inference.network import Network
from helicon.models.hub import save


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
