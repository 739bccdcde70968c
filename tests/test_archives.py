import zipfile

import pytest

from helicon.archives import member_of, through
from helicon.data.reading.compressed import text_lines
from helicon.errors import InputError
from helicon.files import existing_data, existing_file, sha256

TEXT = b">a\nMKV\n"
JUNK = {"splits/.DS_Store": b"x", "__MACOSX/splits/._a.fasta": b"x"}


def archive(folder, members, name="splits.zip"):
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        content.mkdir("splits")
        for member, data in members.items():
            content.writestr(member, data)
    return path


def lines(path):
    return [line for _, line in text_lines(path, "FASTA file")]


def test_a_member_is_read_by_the_path_through_its_archive(tmp_path):
    path = archive(tmp_path, {"splits/a.fasta": TEXT, "b.csv": b"x,y\n", **JUNK})
    inside = path / "splits" / "a.fasta"
    (tmp_path / "plain.fasta").write_bytes(TEXT)
    assert member_of(inside) == (path, "splits/a.fasta")
    assert lines(inside) == lines(str(inside)) == [">a", "MKV"]
    assert existing_data(inside) == inside
    assert sha256(inside) == sha256(tmp_path / "plain.fasta")


def test_a_lone_member_is_what_the_archive_means(tmp_path):
    path = archive(tmp_path, {"splits/a.fasta": TEXT, **JUNK}, "no-suffix")
    assert lines(path) == [">a", "MKV"]
    assert existing_data(path) == through(path, "table") == path / "splits" / "a.fasta"
    assert through(tmp_path / "absent.csv", "table") == tmp_path / "absent.csv"


def test_a_compressed_member(tmp_path):
    import gzip

    path = archive(tmp_path, {"a.fasta.gz": gzip.compress(TEXT)})
    assert lines(path / "a.fasta.gz") == [">a", "MKV"]


def test_checkpoints_are_zip_archives_that_are_left_alone(tmp_path):
    path = archive(tmp_path, {"archive/data.pkl": b"x"}, "model.pt")
    assert existing_file(path, "checkpoint") == path
    assert sha256(path) != sha256(path / "archive" / "data.pkl")


def wrong_cases(folder):
    many = archive(folder, {f"splits/{i}.csv": TEXT for i in range(20)}, "many.zip")
    cut = folder / "cut.zip"
    cut.write_bytes(many.read_bytes()[:-40])
    broken = folder / "broken.zip"
    stored = archive(folder, {"a.fasta": TEXT * 999}, "whole.zip").read_bytes()
    broken.write_bytes(stored[:60] + b"\xff\xff\xff\xff" + stored[64:])
    locked = bytearray(archive(folder, {"a.fasta": TEXT}, "open.zip").read_bytes())
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1  # the encryption bit, in the directory
    (folder / "locked.zip").write_bytes(bytes(locked))
    (folder / "plain.csv").write_bytes(TEXT)
    return [
        (many, "20 files; name one, as in .*many.zip/splits/0.csv; it holds .* and 8 more"),
        (many / "splits" / "99.csv", "holds no such file; it holds splits/0.csv"),
        (many / "splits", "holds no such file"),
        (cut, "damaged or cut short"),
        (cut / "splits" / "1.csv", "damaged or cut short"),
        (broken / "a.fasta", "damaged or cut short"),
        (folder / "locked.zip" / "a.fasta", "is encrypted"),
        (folder / "plain.csv" / "a.fasta", "no such FASTA file"),
        (archive(folder, {"a.fasta": b""}, "empty.zip"), "the FASTA file is empty"),
        (archive(folder, JUNK, "junk.zip"), "holds no FASTA file"),
        (archive(folder, {"[Content_Types].xml": b"x"}, "a.xlsx"), "Office document"),
    ]


def test_wrong_archives_are_one_line(tmp_path):
    for path, words in wrong_cases(tmp_path):
        with pytest.raises(InputError, match=words) as said:
            lines(path)
        assert "\n" not in str(said.value)
