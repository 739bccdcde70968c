"""What a job writes and reads: looked at before any work, and again before it writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from helicon.errors import InputError
from helicon.files import Unchanged, check_output


@dataclass(frozen=True)
class JobFiles:
    """The files of a job.

    Attributes:
        out: its output.
        reads: what it reads, as it was before the work.
        stale: files that belong to a former output, an index for instance.
    """

    out: Path
    reads: Unchanged
    stale: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        out: str | Path,
        reads: Iterable[str | Path | None] = (),
        *,
        beside: Iterable[str | Path | None] = (),
        stale: Iterable[Path] = (),
        folder: bool = False,
    ) -> Self:
        """Refuse places where something would be lost, or that cannot be written.

        Args:
            out: the output.
            reads: files that the job reads; `None` counts as none.
            beside: further files that are written, a figure for instance.
            stale: files that belong to a former output; they go when the new one comes.
            folder: whether the output is a folder, whose content the job looks at itself.

        Raises:
            InputError: two files are one; a folder stands where a file will; or a place cannot be
                written to.
            WorkError: the disk is full.
        """
        out = Path(out)
        paths = [None if path is None else Path(path) for path in reads]
        check_output(out, paths, folder=folder)
        for other in beside:
            if other is not None:
                if Path(other).absolute() == out.absolute():
                    raise InputError(f"{out}: is to be written twice; choose two names")
                check_output(other, paths)
        return cls(out, Unchanged.of(paths), tuple(stale))

    def make_room(self) -> None:
        """Remove what belongs to a former output."""
        for path in self.stale:
            path.unlink(missing_ok=True)

    def check(self) -> None:
        """Refuse files that are not what they were.

        Raises:
            InputError: names the first.
        """
        if changed := self.reads.changed():
            raise InputError(
                f"{changed}: changed while it was read, so nothing is written; start again when it "
                f"stays as it is (and if its content is another, remove {self.out}.parts first)"
            )
