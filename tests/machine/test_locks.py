"""One process at a time holds a file, and nothing else happens to it."""

import pytest

from helicon.errors import InputError
from helicon.machine.locks import HeldError, alone


def test_a_held_file_is_refused_and_free_again_behind_the_block(tmp_path):
    path = tmp_path / ".lock"
    with alone(path) as held:
        assert held
        with pytest.raises(HeldError), alone(path):
            pass
    with alone(path, wait=True) as held:
        assert held


def test_what_is_in_the_file_stays(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("somebody's")
    with alone(path):
        pass
    assert path.read_text() == "somebody's"


def test_links_and_folders_are_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    link, folder = tmp_path / "link", tmp_path / "folder"
    link.symlink_to(outside)
    folder.mkdir()
    for path in (link, folder):
        with pytest.raises(InputError, match="is no plain file"), alone(path):
            pass
    assert outside.read_text() == "precious"


def test_a_file_that_was_removed_meanwhile_is_made_again(tmp_path):
    path = tmp_path / "parts" / ".lock"
    path.parent.mkdir()
    with alone(path):
        path.unlink()
        with alone(path) as held:  # another file of this name
            assert held and path.exists()
