"""Shards in, one output out: the same however they are dealt out and however often stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from counting_job import CountingJob

from helicon.errors import InputError, WorkError
from helicon.inference.jobs.engine import run
from helicon.inference.jobs.files import JobFiles
from helicon.inference.jobs.job import Engine
from helicon.inference.jobs.parts import Parts

HERE = Path(__file__).parents[2] / "support"


@pytest.fixture
def job(tmp_path, folders):
    (tmp_path / "traces").mkdir()
    return lambda **options: CountingJob(str(folders["language"]), tmp_path / "traces", **options)


def traces(tmp_path):
    return sorted(int(path.name.split(".")[0]) for path in (tmp_path / "traces").iterdir())


def test_one_device(tmp_path, job):
    done = run(job(), tmp_path / "out.parquet", Engine())
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["number"].to_pylist() == [n for n in range(12) for _ in range(100)]
    assert table.schema.metadata[b"job"] == b"count"
    assert (done.shards, done.resumed, done.letters) == (12, 0, 1200)
    assert not (tmp_path / "out.parquet.parts").exists()
    assert "1,200 letters" in done.summary


@pytest.fixture
def ray_cluster(monkeypatch):
    """Two workers on this machine, for the runs of one test."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from helicon.inference.jobs import ray_cluster

    with ray_cluster.quiet(), ray_cluster.cluster(cpus=2):
        yield


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_workers_give_the_same_bytes(tmp_path, job, engine, monkeypatch, request):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    run(job(), tmp_path / "one.parquet", Engine())
    for trace in (tmp_path / "traces").iterdir():
        trace.unlink()
    done = run(job(seconds=0.1), tmp_path / "two.parquet", Engine(devices=2, engine=engine))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert traces(tmp_path) == list(range(12))
    assert len({path.name.split(".")[1] for path in (tmp_path / "traces").iterdir()}) == 2
    assert done.letters == 1200
    wrong = {"local": {"wrong": 5}, "ray": {"unreadable": 5}}[engine]
    words = {"local": "record 5: is wrong", "ray": "line 7: is unreadable"}[engine]
    with pytest.raises(InputError, match=words):
        run(job(**wrong), tmp_path / "wrong.parquet", Engine(devices=2, engine=engine))
    assert not (tmp_path / "wrong.parquet").exists()


@pytest.mark.parametrize("devices", ["1", "2"])
def test_killed_and_started_again(tmp_path, job, folders, devices):
    run(job(), tmp_path / "whole.parquet", Engine())
    for trace in (tmp_path / "traces").iterdir():
        trace.unlink()
    out = tmp_path / "out.parquet"
    words = [str(HERE / "counting_job.py"), str(folders["language"]), str(tmp_path / "traces")]
    for least in (7,) if devices == "2" else (3, 7):
        child = subprocess.Popen(
            [sys.executable, *words, str(out), devices], start_new_session=True
        )
        deadline = time.monotonic() + 300
        while len(list(tmp_path.glob("out.parquet.parts/*.arrow"))) < least:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    kept = {int(path.stem) for path in tmp_path.glob("out.parquet.parts/*.arrow")}
    before = traces(tmp_path)
    done = run(job(), out, Engine())
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert done.resumed == len(kept) >= 7
    again = traces(tmp_path)
    for number in before:
        again.remove(number)
    assert set(again) == set(range(12)) - kept


def test_parts_of_another_job_are_not_mixed(tmp_path, job):
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError, match="record 3: is wrong"):
        run(job(wrong=3), out, Engine())
    with pytest.raises(InputError, match=r"parts: holds parts of another job .*same option"):
        run(job(option=1), out, Engine())
    assert run(job(), out, Engine()).resumed == 3


def test_two_processes_do_not_write_one_output(tmp_path, job):
    out = tmp_path / "out.parquet"
    with (
        Parts.open(out, {}),
        pytest.raises(InputError, match="another process is writing it"),
    ):
        run(job(), out, Engine())


def test_a_damaged_part_is_named(tmp_path, job):
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError, match="record 3: is wrong"):
        run(job(wrong=3), out, Engine())
    part = tmp_path / "out.parquet.parts" / "00000001.arrow"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"00000001\.arrow: is damaged"):
        run(job(), out, Engine())
    part.unlink()
    assert run(job(), out, Engine()).resumed == 11


def test_what_stood_there_stays_until_the_new_output_is_whole(tmp_path, job):
    out = tmp_path / "out.parquet"
    out.write_text("before")
    with pytest.raises(InputError):
        run(job(wrong=3), out, Engine())
    assert out.read_text() == "before"
    run(job(), out, Engine())
    assert len(pq.read_table(out)) == 1200


def test_a_process_that_dies_is_named(tmp_path, job, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with pytest.raises(WorkError, match="a process died"):
        run(job(verb="die"), tmp_path / "out.parquet", Engine(devices=2))


def started(tmp_path, folders, devices):
    """A job in a process of its own, after its first part."""
    words = [str(HERE / "counting_job.py"), str(folders["language"]), str(tmp_path / "traces")]
    child = subprocess.Popen(
        [sys.executable, *words, str(tmp_path / "out.parquet"), devices],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("out.parquet.parts/*.arrow")):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    return child


def alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path, job, folders):
    child = started(tmp_path, folders, "2")
    child.kill()
    child.communicate()
    workers = {int(path.name.split(".")[1]) for path in (tmp_path / "traces").iterdir()}
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    count = len(list((tmp_path / "traces").iterdir()))
    time.sleep(0.5)
    assert len(list((tmp_path / "traces").iterdir())) == count


def test_sigterm_cleans_and_says_how_to_go_on(tmp_path, job, folders):
    child = started(tmp_path, folders, "1")
    child.terminate()
    said = child.communicate()[1]
    assert child.returncode == 1
    assert "stopped by SIGTERM; what is finished is kept: start again with the same" in said
    assert not [path for path in tmp_path.rglob(".*") if path.suffix in (".tmp", ".old")]
    assert run(job(), tmp_path / "out.parquet", Engine()).resumed >= 1


def test_leftovers_of_a_killed_start_are_cleaned(tmp_path, job):
    out = tmp_path / "out.parquet"
    left = tmp_path / ".out.parquet.0badcafe.tmp"
    left.write_text("half")
    other = tmp_path / ".out.parquet.notes"
    other.write_text("mine")
    run(job(), out, Engine())
    assert not left.exists()
    assert other.read_text() == "mine"


def test_a_folder_of_parts_with_other_files_is_left_alone(tmp_path, job):
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
        run(job(), tmp_path / "out.parquet", Engine())
    assert (parts / "thesis.tex").read_text() == "years"


def test_an_input_that_changes_is_noticed_before_anything_is_written(tmp_path, job):
    data, out = tmp_path / "in.fa", tmp_path / "out.parquet"
    data.write_text(">a\nACGT\n")
    files = JobFiles.of(out, [data])
    data.write_text(">a\nTTTT\n")
    with pytest.raises(InputError, match=r"in.fa: changed while it was read"):
        run(job(), files, Engine())
    assert not out.exists()
    with pytest.raises(InputError, match=r"in.fa: changed while it was read"):
        run(job(wrong=3), files, Engine())
    assert run(job(), JobFiles.of(out, [data]), Engine()).resumed == 12


def test_what_belongs_to_a_former_output_goes_with_it(tmp_path, job):
    out, index = tmp_path / "out.parquet", tmp_path / "out.parquet.tbi"
    index.write_text("of another file")
    with pytest.raises(InputError):
        run(job(wrong=3), JobFiles.of(out, stale=[index]), Engine())
    assert index.exists()
    run(job(), JobFiles.of(out, stale=[index]), Engine())
    assert not index.exists()


def test_wrong_settings():
    with pytest.raises(InputError, match="devices: must be at least 1"):
        Engine(devices=0)
    with pytest.raises(InputError, match="accelerator: 'tpu'"):
        Engine(accelerator="tpu").network("convnova-tiny")
