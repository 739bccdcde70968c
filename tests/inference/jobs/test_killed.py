"""Verbs that are killed at random moments, with SIGKILL: the same bytes after the next start."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_networks import write_genome

CHILD = Path(__file__).parents[2] / "support" / "killed_child.py"
#: Times that each verb is killed; set it higher to look for what is rare.
KILLS = int(os.environ.get("HELICON_TEST_KILLS", "2"))
#: Verb, model, output and further options.
CASES = {
    "embed": ("language", "e.npy", {}),
    "predict": ("token", "p.gff3", {"grammar": "free"}),
    "track": ("language", "t.bw", {"channel": ["entropy"], "mask_every": 3}),
    "variants": ("language", "v.vcf.gz", {}),
}


@pytest.fixture
def start(tmp_path, folders):
    """Starts a verb in a process of its own, in a folder of its own."""
    genome = write_genome(tmp_path / "g.fa", [900, 130, 150, 40, 900, 200])
    letters = "".join(genome.read_text().split(">c0 contig\n")[1].split(">")[0].split())
    vcf = tmp_path / "v.vcf"
    rows = [f"c0\t{p}\t.\t{letters[p - 1]}\tN\t.\t.\t." for p in range(10, 210, 4)]
    rows = [r.replace("\tN\t", "\tA\t" if "\tC\tN" in r else "\tC\t") for r in rows]
    rows = [r for r in rows if r.split("\t")[3] != "N"]
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf.write_text(head + "\n".join(rows) + "\n")

    def run(verb, folder, devices, pause):
        model, name, options = CASES[verb]
        data = vcf if verb == "variants" else genome
        more = {"reference": str(genome)} if verb == "variants" else {}
        options = (
            options
            | more
            | {
                "model": str(folders[model]),
                "data": str(data),
                "out": str(folder / name),
                "devices": devices,
                "accelerator": "cpu",
            }
        )
        said = {"verb": verb, "letters": 200, "pause": pause, "options": options}
        return subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(said)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return run


def finished(child):
    said = child.communicate()[1]
    assert child.returncode == 0, said


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("verb", CASES)
def test_killed_at_random_moments(tmp_path, start, verb):
    once = tmp_path / "once"
    once.mkdir()
    finished(start(verb, once, 1, 0.0))
    rng = np.random.default_rng(list(verb.encode()))
    for kill in range(KILLS):
        devices = 1 + kill % 2
        folder = tmp_path / f"killed-{kill}"
        folder.mkdir()
        child = start(verb, folder, devices, 0.15)
        least, wait = rng.integers(1, 4), rng.random() * 0.4
        deadline = time.monotonic() + 200
        while child.poll() is None and len(list(folder.glob("*.parts/*.arrow"))) < least:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(wait)
        # The first process alone: workers have to follow by themselves.
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        finished(start(verb, folder, 1, 0.0))
        names = sorted(path.name for path in once.iterdir())
        assert sorted(path.name for path in folder.iterdir()) == names
        for name in names:
            assert (folder / name).read_bytes() == (once / name).read_bytes(), name
