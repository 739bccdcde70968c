"""Mapped arrays give their memory back and can be read again."""

import sys
from pathlib import Path

import numpy as np
import pytest

from helicon.data.reading.cached import let_go, mapped


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_given_back(tmp_path):
    path = tmp_path / "a.i64"
    np.arange(4_000_000).tofile(path)
    array = mapped(path, np.int64)
    before = resident()
    total = int(array.sum())
    assert resident() - before > 24_000_000
    let_go(array[10:20])  # a part of the mapping stands for all of it
    assert resident() - before < 8_000_000
    assert int(array.sum()) == total


def test_what_is_not_mapped_stays(tmp_path):
    array = np.arange(5)
    let_go(array)
    assert array.tolist() == [0, 1, 2, 3, 4]
    (tmp_path / "empty").touch()
    assert mapped(tmp_path / "empty", np.uint8).shape == (0,)
    let_go(mapped(tmp_path / "empty", np.uint8))
