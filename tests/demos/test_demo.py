"""Which job a system means, and arguments that are none."""

from pathlib import Path

import pytest

from helicon.demos import demo, main_job, protein_job
from helicon.demos.systems import CONVNOVA, FINDNA
from helicon.errors import InputError


@pytest.mark.parametrize(
    ("system", "job", "folder", "own"),
    [
        ("convnova", main_job, "demo", {"system": CONVNOVA}),
        ("findna", main_job, "demo-findna", {"system": FINDNA}),
        ("carp", protein_job, "demo-carp", {}),
    ],
)
def test_a_system_has_its_job_and_its_folder(monkeypatch, system, job, folder, own):
    given = []
    monkeypatch.setattr(job, "run", lambda out, **options: given.append((out, options)))
    demo.demo(system)
    demo.demo(system, out="mine", minutes=1, seeds=2, seed=7)
    assert given[0][0] == Path(folder)
    assert given[1] == (Path("mine"), {"minutes": 1, "seeds": 2, "seed": 7, **own})


@pytest.mark.parametrize("options", [{"seeds": 0}, {"minutes": 0}, {"system": "hyena"}])
def test_wrong_arguments_are_refused(tmp_path, options):
    with pytest.raises(InputError):
        demo.demo(out=tmp_path / "demo", **options)
    assert not (tmp_path / "demo").exists()
