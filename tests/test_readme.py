"""The README's commands and code: what is quick is run, the rest is read by the real program."""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path

import pytest

from helicon.cli.application import application

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.S | re.M)


def commands() -> list[tuple[str, str]]:
    lines = (
        (p, line) for p in PAGES for block in blocks(p, "console") for line in block.splitlines()
    )
    return [(p.name, line.partition("#")[0].strip()) for p, line in lines if line.strip()]


HELICON = [(page, c) for page, c in commands() if "helicon " in c and not c.startswith("pip")]


def test_the_readme_shows_the_two_commands():
    found = [command for page, command in commands() if page == "README.md"]
    assert found[:2] == ["make demo", "make test"]


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {c.split()[1] for _, c in commands() if c.startswith("make ")}
    assert named
    assert named <= targets


@pytest.mark.parametrize(("page", "command"), HELICON)
def test_every_command_is_one_that_the_program_reads(page, command):
    words = shlex.split(command)
    words = words[words.index("helicon") + 1 :]
    if "--config" in words:
        at = words.index("--config")
        words = words[:at] + words[at + 2 :] + ["x"]  # the recipe names the data
    application(words).parse_args(words, exit_on_error=False, print_error=False)


@pytest.fixture
def small_project(tmp_path, monkeypatch):
    """A folder with the files that the pages speak of."""
    letters = random.Random(0)
    rows = ["sequence,label"]
    for i in range(60):
        middle = "TATAAATA" if i % 2 else "GCGCGCGC"
        rows.append("".join(letters.choices("ACGT", k=40)) + middle + f",{i % 2}")
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_readmes_python_runs(small_project, capsys):
    (code,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line]) <= 6
    found: dict = {}
    exec(compile(code, "README.md", "exec"), found)
    out = capsys.readouterr().out
    assert out.startswith("193\n")
    assert "mcc" in out
    assert found["model"].config.num_labels == 2


def test_the_other_pages_python_is_python():
    for page in PAGES:
        for code in blocks(page, "python"):
            compile(code, page.name, "exec")


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
