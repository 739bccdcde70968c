"""Options from a TOML file (`--config`)."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path
from typing import Any

from cyclopts.config import Dict

from helicon.cli.renamed import current_keys
from helicon.errors import InputError
from helicon.files import existing_file

#: Keys that may stand beside a verb's table.
_BESIDE = {"description"}


def read_config(path: Path, verb: str) -> Dict:
    """Options of a verb: those of its table in a recipe, or those that a finished run had.

    Args:
        path: a recipe, or the `recipe.toml` of a run folder.
        verb: the verb that they are for, `pretrain` for one.

    Returns:
        A source of options below those of the command line, which checks names and values.

    Raises:
        InputError: the file is missing, is no TOML, or is for another verb.
    """
    path = existing_file(path, "recipe")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML ({error}); correct it") from error
    if isinstance(content.get("verb"), str) and isinstance(content.get("recipe"), dict):
        content = {content["verb"]: _chosen(content["verb"], content["recipe"])}
    tables = [key for key, value in content.items() if isinstance(value, dict)]
    if verb not in tables:
        there = f"it is for {' and '.join(tables)}" if tables else f"write them under [{verb}]"
        raise InputError(f"{path}: has no options for {verb}; {there}")
    if unknown := sorted(content.keys() - {*tables, *_BESIDE}):
        raise InputError(f"{path}: unknown key {unknown[0]!r}; move it under [{verb}]")
    return Dict({verb: current_keys(verb, content[verb])}, source=str(path))


def _chosen(verb: str, values: dict[str, Any]) -> dict[str, Any]:
    """The options of a finished run, without those that stand at what they are by default.

    A run records every option, those too that mean nothing for its data.
    """
    function = importlib.import_module(f"helicon.cli.{verb}").command
    parameters = inspect.signature(function).parameters
    current = current_keys(verb, values)
    usual = {name: p.default for name, p in parameters.items()}
    return {n: v for n, v in current.items() if n not in usual or usual[n] != v}
