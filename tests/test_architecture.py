"""The house keeps its order: imports run downward, files stay small, pages and program agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "helicon"
sys.path.insert(0, str(ROOT / "tools"))

import reference  # noqa: E402

#: Floors from the ground up. A module imports from its own part and from the floors below; the
#: parts of one floor do not know each other.
FLOORS = [
    {"errors"},
    {"archives", "alphabet"},
    {"files"},
    {"machine", "drawing"},
    {"data"},
    {"models"},
    {"objectives"},
    {"metrics"},
    {"forward"},
    {"training", "inference"},
    {"bench"},
    {"report"},
    {"demos"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
#: Modules that a folder has at most; the command line has one for each verb.
MODULES_OF_A_FOLDER, EXCEPT = 14, {"cli"}
LINES_OF_A_FILE = 800
#: Rooms that still stand in a circle or are too full, and are to be mended.
CIRCLES: set[str] = set()
CROWDED: set[str] = set()
MODULES = sorted(SOURCE.rglob("*.py"))


def tracked() -> list[Path]:
    """Files of the project: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for line in done.stdout.splitlines() if (path := ROOT / line).is_file()]


def imports(path: Path) -> set[str]:
    """Modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def helicon_imports(path: Path) -> set[tuple[str, ...]]:
    """Parts of the names of our modules that a file imports."""
    found = set()
    for name in imports(path):
        parts = name.split(".")[1:] if name.startswith("helicon.") else []
        while parts and not (_folder(parts).is_dir() or _folder(parts).with_suffix(".py").exists()):
            parts.pop()
        found |= {tuple(parts)} if parts else set()
    return found


def _folder(parts: list[str]) -> Path:
    return SOURCE.joinpath(*parts)


def test_imports_run_downward():
    wrong = []
    for path in MODULES:
        if path == SOURCE / "__init__.py":
            continue  # names where the public functions are; imports them when they are used
        here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for there, *_ in helicon_imports(path):
            if there != here and LEVEL[there] >= LEVEL[here]:
                wrong += [f"{path.relative_to(ROOT)} imports {there}"]
    assert not wrong


def test_rooms_know_each_other_one_way():
    """In every folder, files and sub-folders import each other without a circle."""
    wrong = []
    for folder in {path.parent for path in MODULES} - {SOURCE}:
        inside = folder.relative_to(SOURCE).parts
        arrows: dict[str, set[str]] = {}
        for path in folder.rglob("*.py"):
            here = path.relative_to(folder).parts[0].removesuffix(".py")
            for parts in helicon_imports(path):
                if parts[: len(inside)] == inside and len(parts) > len(inside):
                    arrows.setdefault(here, set()).add(parts[len(inside)])
        arrows = {here: there - {here} for here, there in arrows.items()}
        try:
            TopologicalSorter(arrows).prepare()
        except CycleError as error:
            wrong.append(f"{folder.relative_to(ROOT)}: {' -> '.join(error.args[1])}")
    assert {line.split(":")[0] for line in wrong} == CIRCLES


def test_every_folder_has_its_floor():
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in MODULES}
    assert parts - {"__init__"} <= LEVEL.keys()


def test_folders_and_files_are_small():
    counts = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder, count in counts.items()
        if count > MODULES_OF_A_FOLDER and folder.name not in EXCEPT
    }
    texts = [p for p in tracked() if p.suffix in {".py", ".sh", ".js", ".css", ".j2"}]
    long = {p.name: n for p in texts if (n := len(p.read_text().splitlines())) > LINES_OF_A_FILE}
    assert crowded.keys() == CROWDED
    assert not long


def test_tests_mirror_the_rooms():
    """A folder of tests has the name of the folder that it tests."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*")}
    assert {folder for folder in folders if not (SOURCE / folder).is_dir()} <= {Path("fixtures")}


def test_every_public_name_is_where_the_package_says():
    import helicon

    for name in helicon.__all__:
        assert getattr(helicon, name) is not None
    assert set(helicon.__all__) <= set(dir(helicon))
    with pytest.raises(AttributeError, match="nothing_such"):
        helicon.nothing_such  # noqa: B018


@pytest.mark.parametrize("order", ["import helicon, transformers", "import transformers, helicon"])
def test_hugging_face_knows_the_models_in_either_order(order):
    code = (
        f"{order}; config = transformers.AutoConfig.for_model('helicon'); "
        "print(type(transformers.AutoModelForMaskedLM.from_config(config)).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "HeliconForMaskedLM\n", done.stderr


# ---------------------------------------------------------------- dependencies


def _declared(requirements: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9-]+", one) for one in requirements)
    return {found[0].lower() for found in names if found}


def test_dependencies_are_used_declared_and_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = _declared(project["project"]["dependencies"])
    extras = project["project"].get("optional-dependencies", {})
    extra = {name for listed in extras.values() for name in _declared(listed)}
    groups = project["dependency-groups"].values()
    developed = {name for listed in groups for name in _declared(listed)}
    known_as = {"scikit-learn": "sklearn"}
    used = {name.split(".")[0] for path in MODULES for name in imports(path)}
    modules = {known_as.get(name, name.replace("-", "_")): name for name in needed | extra}
    foreign = used - set(sys.stdlib_module_names) - {"helicon"}
    assert foreign == modules.keys()
    page = (ROOT / "docs" / "dependencies.md").read_text()
    explained = {
        word for row in re.findall(r"^\| ([a-z].*?) \|", page, re.M) for word in row.split(", ")
    }
    assert needed | extra | developed <= explained
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert needed | extra | developed <= pinned


# ---------------------------------------------------------------- texts


def test_texts_name_no_machine_and_no_registry():
    words = re.compile(
        "|".join(
            [
                r"(?<![\w.])/wo" + "rk/",
                "pyp" + r"i\.org",
                "pythonho" + "sted",
                r"download\.pyto" + "rch",
            ]
        )
    )
    found = []
    for path in tracked():
        if path.suffix not in {".gz", ".png", ".safetensors", ".parquet", ".ckpt", ".bw"}:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in words.finditer(text)]
    assert not found


def test_every_option_of_every_command_is_in_the_reference():
    page = reference.on_page_markdown((ROOT / "docs" / "commands.md").read_text())
    apps = {name.split()[0] for name in reference.functions()}
    assert apps == set(reference.VERBS)
    for command in reference.functions():
        section = page.split(f"\n## {command}\n")[1].split("\n## ")[0]
        for option in reference.options(command):
            assert option.meaning, f"{command}: {option.name} has no docstring"
            for word in option.words:
                assert f"`{word}`" in section


def test_the_reference_has_the_options_that_the_command_line_takes():
    root = reference.application(list(reference.VERBS))
    for command in reference.functions():
        app = root
        for word in command.split():
            app = app[word]
        taken = {name for one in app.assemble_argument_collection() for name in one.names}
        listed = {word for option in reference.options(command) for word in option.words}
        assert {name for name in taken if not name.startswith("--empty-")} == listed


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.name)
def test_every_recipe_is_read(path):
    content = tomllib.loads(path.read_text())
    assert content["description"]
    verbs = [key for key, value in content.items() if isinstance(value, dict)]
    assert verbs, f"{path.name} has no table"
    for verb in verbs:
        words = [verb, "--config", str(path), *_missing(verb, content[verb])]
        parse(words)


def _missing(verb: str, given: dict) -> list[str]:
    """Words for what a recipe leaves to the command line."""
    words = []
    for option in reference.options(verb):
        if option.shown_default == "required" and option.name not in given:
            words += [option.words[0], "x"]
    return words


def parse(words: list[str]) -> None:
    """Read a command line without running it; wrong options raise."""
    from helicon.cli.config import read_config

    app = reference.application([words[0]])
    if "--config" in words:
        at = words.index("--config")
        app.config = read_config(Path(words[at + 1]), words[0])
        words = words[:at] + words[at + 2 :]
    app.parse_args(words)
