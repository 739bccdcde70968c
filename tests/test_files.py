import errno
import hashlib
import os
from pathlib import Path

import pytest

from helicon import files
from helicon.errors import InputError, WorkError
from helicon.files import (
    cache_folder,
    check_output,
    data_folders,
    existing_file,
    sha256,
    write_aside,
)


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


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, "mounted read-only"),
        (errno.EACCES, "no permission"),
        (errno.EBUSY, "a mount point"),
    ],
)
def test_why_a_place_cannot_be_written(tmp_path, monkeypatch, number, said):
    def refused(self, *_, **__):
        raise OSError(number, "no", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refused)
        with pytest.raises(InputError, match=rf"x.txt: cannot be written \(.*{said}"):
            check_output(tmp_path / "x.txt")
    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(InputError, match=said), write_aside(tmp_path / "x.txt") as aside:
        aside.write_text("whole")
    assert names(tmp_path) == []


def test_a_full_disk_is_seen_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WorkError, match="the disk is full"):
        check_output(tmp_path / "x")
    assert names(tmp_path) == []


def test_an_unreadable_input_is_not_blamed_on_the_output(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "/elsewhere/in.fa")
    with pytest.raises(PermissionError), write_aside(tmp_path / "x"):
        raise error


def test_mount_points_and_files_on_the_way_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        check_output(tmp_path / "file" / "x.parquet")
    monkeypatch.setattr(files.os.path, "ismount", lambda _: True)
    with pytest.raises(InputError, match="is a mount point"):
        check_output(tmp_path / "x", folder=True)


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path):
    path = tmp_path / "data.parquet"
    path.mkdir()
    (path / "part-0").touch()
    with pytest.raises(InputError, match="is a folder, and stays"), write_aside(path) as aside:
        aside.write_text("whole")
    assert names(tmp_path) == ["data.parquet", "part-0"]


def test_leftovers(tmp_path):
    for name in (".a.1234.tmp", ".b.1234.tmp", ".a.1234.old", ".keep", ".c.9.old"):
        (tmp_path / name).touch()
    (tmp_path / "a").touch()
    files.clear_leftovers(tmp_path, "a")
    assert names(tmp_path) == [".b.1234.tmp", ".c.9.old", ".keep", "a"]
    files.clear_leftovers(tmp_path)
    assert names(tmp_path) == [".keep", "a", "c"]  # killed between two renamings: c comes back


def test_a_pipe_is_called_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        InputError, match="is a pipe or a device, and a table is read more than once"
    ):
        existing_file(tmp_path / "pipe", "table")
    with pytest.raises(InputError, match="is a pipe or a device"):
        existing_file("/dev/null", "table")


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
