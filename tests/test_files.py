import errno
import hashlib
from pathlib import Path

import pytest

from helicon import files
from helicon.errors import InputError, WorkError
from helicon.files import cache_folder, data_folders, existing_file, sha256, write_aside


def names(folder):
    return sorted(p.name for p in folder.rglob("*"))


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with write_aside(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["new", "x.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_aside(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "model"
    for content in ("one", "two"):
        with write_aside(path) as aside:
            aside.mkdir()
            (aside / content).write_text(content)
    assert names(tmp_path) == ["model", "two"]
    with pytest.raises(ValueError, match="no"), write_aside(path) as aside:
        aside.mkdir()
        (aside / "three").touch()
        raise ValueError("no")
    assert names(tmp_path) == ["model", "two"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk(tmp_path, error):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(WorkError, match=r"x.txt: the disk is full"), write_aside(path) as aside:
        aside.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_a_full_disk_noticed_at_the_last_moment(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WorkError, match="the disk is full"), write_aside(tmp_path / "x") as aside:
        aside.write_text("half")
    assert names(tmp_path) == []


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(InputError, match="mine"), write_aside(tmp_path / "x"):
        raise InputError("mine")


def test_hashes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_existing_files(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a")
    assert existing_file(str(path)) == path
    (tmp_path / "empty").touch()
    for wrong, said in [
        ("none", "no such table"),
        ("empty", "the table is empty"),
        (".", "is a folder"),
    ]:
        with pytest.raises(InputError, match=said):
            existing_file(tmp_path / wrong, "table")


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("secret")
    monkeypatch.setattr(files.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be read; check its permissions"):
        existing_file(path)


def test_folders_of_the_environment(monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", "/one")
    assert cache_folder() == Path("/one")
    monkeypatch.delenv("HELICON_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert cache_folder() == Path("/two/helicon")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "helicon"
    monkeypatch.setenv("HELICON_DATA", "/a:~/b:")
    assert data_folders() == [Path("/a"), Path.home() / "b"]
    monkeypatch.delenv("HELICON_DATA")
    assert data_folders() == []
