"""Which job a system means, and arguments that are none."""

from pathlib import Path

import pytest

from helicon.demos import demo, main_job, protein_job
from helicon.errors import InputError


@pytest.mark.parametrize(
    ("system", "job", "folder"),
    [("convnova", main_job, "demo"), ("carp", protein_job, "demo-carp")],
)
def test_a_system_has_its_job_and_its_folder(monkeypatch, system, job, folder):
    given = []
    monkeypatch.setattr(job, "run", lambda out, **options: given.append((out, options)))
    demo.demo(system)
    demo.demo(system, out="mine", minutes=1, seeds=2, seed=7)
    assert given[0][0] == Path(folder)
    assert given[1] == (Path("mine"), {"minutes": 1, "seeds": 2, "seed": 7})


@pytest.mark.parametrize("options", [{"seeds": 0}, {"minutes": 0}, {"system": "findna"}])
def test_wrong_arguments_are_refused(tmp_path, options):
    with pytest.raises(InputError):
        demo.demo(out=tmp_path / "demo", **options)
    assert not (tmp_path / "demo").exists()
