"""What other systems lack is imported only where it is wanted."""

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "helicon"
#: Modules that Windows has not.
MISSING = {"fcntl", "grp", "pwd", "pysam", "resource", "termios"}


def test_no_module_imports_what_windows_has_not_when_it_is_imported():
    for path in SOURCE.rglob("*.py"):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            names: set[str] = set()
            if isinstance(statement, ast.Import):
                names = {name.name.partition(".")[0] for name in statement.names}
            elif isinstance(statement, ast.ImportFrom) and not statement.level:
                names = {(statement.module or "").partition(".")[0]}
            assert not names & MISSING, f"{path}: {names & MISSING}"


def test_every_verb_is_imported_without_pysam(tmp_path: Path):
    script = f"""
import importlib, sys
sys.modules["pysam"] = None
import helicon
from pathlib import Path
for path in sorted(Path({str(SOURCE / "cli")!r}).glob("*.py")):
    importlib.import_module(f"helicon.cli.{{path.stem}}")
from helicon.data.variants.vcf import htslib
from helicon.errors import InputError
try:
    htslib("BCF files")
except InputError as error:
    print(error)
sys.modules["resource"] = None
from helicon.machine import provenance
provenance.Path = lambda *_: Path({str(tmp_path / "none")!r})
print(provenance.peak_memory_mb())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "BCF files need pysam, which is not installed (on Windows: use WSL, or plain .vcf and "
        ".parquet files)",
        "None",
    ]
