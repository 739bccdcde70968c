"""The finished parts of a job, kept beside its output until the whole is there.

A part is one shard's table, written aside and renamed, so that it is whole or absent. A job that
was stopped at any moment finds its parts again and does the rest.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from helicon.errors import InputError
from helicon.files import clear_leftovers, write_aside
from helicon.machine import locks

_MANIFEST, _LOCK = "manifest.json", ".lock"
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class Parts:
    """The folder `OUT.parts` of one job.

    Attributes:
        folder: where the parts are.
    """

    folder: Path

    @classmethod
    @contextlib.contextmanager
    def open(cls, out: Path, identity: dict[str, Any]) -> Iterator[Parts]:
        """Make the folder, or find it again, and hold it alone.

        Args:
            out: the job's output; its folder is made.
            identity: everything that decides the output, as JSON values.

        Raises:
            InputError: it holds the parts of another job or something else, or another process
                works on this one.
        """
        parts = cls(out.with_name(f"{out.name}.parts"))
        with contextlib.ExitStack() as stack:
            try:
                parts.folder.mkdir(parents=True, exist_ok=True)
                parts._check_own()
                held = stack.enter_context(locks.alone(parts.folder / _LOCK))
            except OSError as error:
                raise InputError(
                    f"{parts.folder}: cannot be written ({error.strerror}); choose another folder"
                ) from error
            except locks.HeldError as error:
                raise InputError(
                    f"{out}: another process is writing it; wait for it, or choose another name"
                ) from error
            if held:
                clear_leftovers(parts.folder)
                clear_leftovers(out.parent, out.name)
            parts._claim(identity)
            try:
                yield parts
            finally:
                clear_leftovers(parts.folder)
        with contextlib.suppress(OSError):  # where a file that is held cannot be removed
            if not (parts.folder / _MANIFEST).exists():
                (parts.folder / _LOCK).unlink(missing_ok=True)
                parts.folder.rmdir()

    def _check_own(self) -> None:
        """Refuse a folder with files that no job of ours wrote.

        Raises:
            InputError: names one.
        """
        others = [path.name for path in self.folder.iterdir() if not _is_own(path.name)]
        if others:
            raise InputError(
                f"{self.folder}: holds other files ({min(others)}); move them, or choose another "
                "output"
            )

    def _claim(self, identity: dict[str, Any]) -> None:
        """Write the manifest, or check the one that is there."""
        path = self.folder / _MANIFEST
        wanted = json.loads(json.dumps(identity))
        if not path.exists():
            if any(self.folder.glob("*.arrow")):
                raise InputError(f"{self.folder}: its {_MANIFEST} is missing; remove the folder")
            with write_aside(path) as aside:
                aside.write_text(json.dumps(wanted, indent=1, sort_keys=True))
            return
        try:
            there = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path}: is damaged; remove {self.folder}") from error
        keys = {key for key in {*there, *wanted} if there.get(key) != wanted.get(key)}
        if keys:
            raise InputError(
                f"{self.folder}: holds parts of another job (not the same {min(keys)}); finish "
                "that one with its own command, remove the folder, or choose another output"
            )

    def done(self) -> set[int]:
        """Numbers of the finished shards."""
        return {int(path.stem) for path in self.folder.glob("*.arrow")}

    def write(self, number: int, table: pa.Table) -> None:
        """Keep a finished shard's table."""
        with (
            write_aside(self._path(number)) as aside,
            pa.OSFile(str(aside), "wb") as sink,
            pa.ipc.new_file(sink, table.schema, options=_OPTIONS) as writer,
        ):
            writer.write_table(table)

    def read(self, count: int) -> Iterator[pa.Table]:
        """The tables of shards 0 to `count - 1`, in order, one at a time.

        Raises:
            InputError: a part is damaged.
        """
        for number in range(count):
            try:
                with pa.OSFile(str(self._path(number)), "rb") as source:
                    yield pa.ipc.open_file(source).read_all()
            except (pa.ArrowInvalid, OSError) as error:
                path = self._path(number)
                raise InputError(
                    f"{path}: is damaged; remove it and start again with the same command"
                ) from error

    def remove(self) -> None:
        """Remove all parts, when the output stands."""
        for path in self.folder.iterdir():
            if _is_own(path.name):
                with contextlib.suppress(PermissionError):
                    path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.arrow"


def _is_own(name: str) -> bool:
    """Whether a file of a folder of parts is one that a job writes."""
    number, _, end = name.rpartition(".")
    written = name.startswith(".") and name.endswith(".tmp")
    return name in (_MANIFEST, _LOCK) or written or (end == "arrow" and number.isdecimal())
