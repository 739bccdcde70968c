"""What a result says about where it came from."""

import subprocess

import helicon.machine.provenance as provenance


def test_everything_is_there():
    found = provenance.provenance(seed=3, data={"genome": "abc"}, seconds=1.5, accelerator="cpu")
    assert found["seed"] == 3 and found["data"] == {"genome": "abc"} and found["seconds"] == 1.5
    assert {"python", "helicon", "torch", "numpy"} <= found["versions"].keys()
    assert found["machine"]["cores"] >= 1 and found["machine"]["cpu"]
    assert found["machine"]["gpu"] is None and found["peak_gpu_memory_mb"] is None
    assert found["peak_memory_mb"] > 10


def test_the_commit_is_that_of_our_own_checkout(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    code = tmp_path / "provenance.py"
    code.write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert provenance.commit() is None
    git("init")
    assert provenance.commit() is None  # somebody else's checkout: the code is not in it
    git("add", "provenance.py")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first")
    first = provenance.commit()
    assert len(first) == 40
    code.write_text("two")
    assert provenance.commit() == first + "+"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit() is None
