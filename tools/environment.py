"""Make or repair `.venv` with the pinned packages of `constraints.txt`.

    tools/setup run      what Helicon needs to run
    tools/setup test     that, and what the tests, the checks and the docs need

Needs only the standard library. Packages come from where the user's pip is configured to look.
They are installed by uv, which takes seconds where pip takes minutes; should uv fail for whatever
reason, pip does the same work.

A machine without an NVIDIA GPU should not download gigabytes of CUDA libraries. Where none is
found on Linux, the CPU build of PyTorch is looked for among the user's registries, then where uv
knows it to be; only then the plain build is taken.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
#: Says what a finished set-up holds; absent while one is under way.
STAMP = VENV / "helicon-setup.json"
#: Present while packages are being written: found later, it means a set-up that was killed.
UNFINISHED = VENV / "helicon-setup.unfinished"
CONSTRAINTS = ROOT / "constraints.txt"
PROJECT = ROOT / "pyproject.toml"
GROUPS = {"run": [], "test": ["test", "docs"]}


def main() -> int:
    """Bring `.venv` up to what is asked for; instant when it is already."""
    purpose = sys.argv[1]
    key = fingerprint()
    have = installed(key)
    if set(GROUPS[purpose]) <= set(have or []) and have is not None:
        return 0
    started = time.monotonic()
    groups = sorted({*GROUPS[purpose], *(have or [])})
    make_venv()
    STAMP.unlink(missing_ok=True)
    said = install(groups)
    UNFINISHED.unlink()
    if said:
        print(f"helicon: the set-up failed; start again with the same command\n{said}")
        return 1
    STAMP.write_text(json.dumps({"key": key, "groups": groups}))
    print(f"helicon: set up in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def fingerprint() -> str:
    """Hash of all that determines the environment."""
    parts = [p.read_bytes() for p in (CONSTRAINTS, PROJECT, Path(__file__))]
    return hashlib.sha256(b"\0".join([*parts, str(ROOT).encode()])).hexdigest()


def installed(key: str) -> list[str] | None:
    """Groups that a finished set-up of this very kind holds, or `None`."""
    if UNFINISHED.exists() or not STAMP.exists() or not PYTHON.exists():
        return None
    stamp = json.loads(STAMP.read_text())
    return stamp["groups"] if stamp["key"] == key else None


def make_venv() -> None:
    """Make `.venv`; begin afresh where one is broken or was left half written."""
    if VENV.exists() and (UNFINISHED.exists() or not runs(PYTHON)):
        print("helicon: .venv is incomplete: making it again", flush=True)
        shutil.rmtree(VENV)
    new = not VENV.exists()
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    if new:
        print(f"helicon: making .venv with Python {sys.version.split()[0]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)


def runs(python: Path) -> bool:
    """Whether an environment's Python starts and has pip."""
    try:
        call = [python, "-c", "import pip"]
        return subprocess.run(call, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install(groups: list[str]) -> str:
    """Install everything; returns an empty string, or the last words of the last try."""
    said = ""
    for what, command in attempts(requirements(groups)):
        print(f"helicon: installing packages ({what})", flush=True)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return ""
        said = done.stdout[-1000:] + done.stderr[-2000:]
    return said


def requirements(groups: list[str]) -> list[str]:
    """Helicon itself, editable, and the requirements of some dependency groups."""
    table = tomllib.loads(PROJECT.read_text())["dependency-groups"]
    return ["--editable", ".", *(one for group in groups for one in table[group])]


def attempts(wanted: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Ways to install, best first: what to say of each, and its command."""
    pinned = ["--constraint", str(CONSTRAINTS)]
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-compile", *pinned]
    torch = next(x for x in CONSTRAINTS.read_text().split() if x.startswith("torch=="))
    present = has_torch()
    plain = (
        "beside the PyTorch that is there" if present else "PyTorch as published for this platform"
    )
    cpu = not present and sys.platform == "linux" and not shutil.which("nvidia-smi")
    if subprocess.run([*pip, "uv"], capture_output=True, check=False).returncode == 0:
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--python", str(PYTHON)]
        uv += [*registries(), *pinned, *wanted]
        if cpu:
            yield "PyTorch for CPU", [*uv, f"{torch}+cpu"]
            yield "PyTorch for CPU, from its own registry", [*uv, torch, "--torch-backend=cpu"]
        yield plain, [*uv, torch]
    if cpu:
        yield "PyTorch for CPU, by pip", [*pip, *wanted, f"{torch}+cpu"]
    yield f"{plain}, by pip", [*pip, *wanted, torch]


def has_torch() -> bool:
    """Whether PyTorch is there already: a second set-up leaves the build that it finds."""
    code = "from importlib.metadata import version; version('torch')"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, check=False)
    return done.returncode == 0


def registries() -> list[str]:
    """The user's pip settings of where packages come from, as options of uv."""
    said = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings: dict[str, str] = {}
    for line in said.splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    if "cert" in settings:
        os.environ.setdefault("SSL_CERT_FILE", settings["cert"])
    options = {
        "index-url": "--default-index",
        "extra-index-url": "--index",
        "find-links": "--find-links",
        "trusted-host": "--allow-insecure-host",
    }
    found = [
        part
        for name, option in options.items()
        for value in settings.get(name, "").split()
        for part in (option, value)
    ]
    # Like pip, take the newest version of all registries, not that of the first that has any.
    return [*found, "--index-strategy", "unsafe-best-match"] if "--index" in found else found


if __name__ == "__main__":
    sys.exit(main())
