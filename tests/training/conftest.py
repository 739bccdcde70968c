import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Genomes that tests open are encoded in a folder of their own."""
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path_factory.mktemp("cache")))
