"""Folders of the cache are made once; mapped arrays give their memory back."""

import sys
from pathlib import Path

import numpy as np
import pytest

from helicon.data.reading.cached import let_go, made_once, mapped
from helicon.errors import InputError
from helicon.files import cache_folder


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


def made(folder):
    """Whether a folder of the cache had to be made."""
    calls = []

    def make():
        calls.append(1)
        (folder / "a").write_bytes(b"1234")
        return {"names": ["x"]}

    assert made_once(folder, ["a"], make)["names"] == ["x"]
    return bool(calls)


def test_a_folder_is_made_once(tmp_path):
    folder = tmp_path / "cache"
    assert made(folder) and not made(folder)


@pytest.mark.parametrize("wrong", ["{", "[]", "{}", '{"files": 3}', "\xff"])
def test_a_damaged_index_is_made_again(tmp_path, wrong):
    folder = tmp_path / "cache"
    made(folder)
    (folder / "index.json").write_bytes(wrong.encode("latin-1"))
    assert made(folder) and not made(folder)


def test_a_file_with_other_bytes_is_made_again(tmp_path):
    folder = tmp_path / "cache"
    made(folder)
    (folder / "a").write_bytes(b"9999")
    assert made(folder)
    assert (folder / "a").read_bytes() == b"1234"


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_a_folder_that_others_may_write_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    made(folder)
    folder.chmod(0o777)
    with pytest.raises(InputError, match="every user may write to this folder"):
        made(folder)
    monkeypatch.setenv("HELICON_CACHE", str(folder))
    with pytest.raises(InputError, match="every user may write to this folder"):
        cache_folder()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    folder, outside = tmp_path / "cache", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("precious")
    (folder / ".lock").symlink_to(outside)
    with pytest.raises(InputError, match="is no plain file"):
        made(folder)
    assert outside.read_text() == "precious"
