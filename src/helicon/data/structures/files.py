"""Files of protein structures and contacts, read into `Structures`.

The kind of a file is seen from its content; any may be compressed with gzip.

- ProteinNet's text records: `[ID]`, `[PRIMARY]`, `[TERTIARY]` (coordinates of N, C-alpha and C of
  every residue in picometres, a line an axis) and `[MASK]` (`+` where they are known) are read, all
  else is passed over.
- JSON: one object a protein, in one list or a line each. `sequence` (or `primary`), `name` (or
  `id`), and either `contacts`, a list of pairs of residues, or `tertiary`, the C-alpha coordinates
  in angstrom, a triple a residue; `valid` (or `valid_mask`) may say of which residues something is
  known. That reads TAPE's JSON files as they are.
- Parquet with columns of the same names.

Residues are numbered from 0.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from helicon.data.reading.compressed import foreign, open_anywhere, open_bytes, text_lines
from helicon.data.structures.packing import SHAPES, Packer
from helicon.data.structures.structures import Structures
from helicon.errors import InputError

#: What the fields of a record may be called; the first is ours.
_SEQUENCE, _NAME, _VALID = ("sequence", "primary"), ("name", "id"), ("valid", "valid_mask")

_WHAT = "file of structures"
#: Characters of JSON, and rows of Parquet, that are read at a time.
_BLOCK, _ROWS = 1 << 20, 1024
#: A mistake so many characters before the end of what was read may be due to the end.
_NEAR_END = 4096
_BETWEEN = re.compile(r"[\s,\[\]]*")
#: Bytes 16 to 20 of an LMDB file.
_LMDB = b"\xde\xc0\xef\xbe"
_PICOMETRES = 100.0


def read_structures(path: str | Path) -> Structures:
    """Read proteins with their coordinates or contacts; the module says which files.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, of another kind, or damaged; a record lacks a part, has
            letters that are no residues, or parts that do not fit each other. Names the record.
    """
    path = Path(path)
    if path.is_dir() and (path / "data.mdb").exists():
        raise _lmdb(path)
    with open_bytes(path, _WHAT) as handle:
        start = handle.read(8192)
    if start[16:20] == _LMDB:
        raise _lmdb(path)
    packer = Packer(path)
    if start.startswith(b"PAR1"):
        packer.unit = "row"
        _read_parquet(path, packer)
    elif words := foreign(start):
        raise InputError(f"{path}: is {words}; a {_WHAT} is wanted")
    elif start.lstrip().startswith(b"[ID]"):
        packer.unit = "line"
        _read_proteinnet(path, packer)
    elif start.lstrip()[:1] in (b"{", b"["):
        _read_json(path, packer)
    else:
        raise InputError(
            f"{path}: is no {_WHAT}: ProteinNet records, JSON (a list or lines) or Parquet"
        )
    return packer.finished()


def _lmdb(path: Path) -> InputError:
    return InputError(
        f"{path}: is an LMDB database, whose records are pickles; these are not opened here. Write "
        "them as JSON lines, as the page 'Contacts' of the documentation says"
    )


# ---------------------------------------------------------------- ProteinNet


def _read_proteinnet(path: Path, packer: Packer) -> None:
    """Read records; a record begins with a line `[ID]`."""
    parts: dict[str, list[str]] = {}
    first, part = 0, ""
    for number, line in text_lines(path, _WHAT):
        line = line.strip()
        if line == "[ID]":
            _add_proteinnet(packer, first, parts)
            parts, first = {}, number
        if line.startswith("[") and line.endswith("]"):
            part = line[1:-1]
            parts[part] = []
        elif line and part in ("ID", "PRIMARY", "TERTIARY", "MASK"):
            parts[part].append(line)
    _add_proteinnet(packer, first, parts)


def _add_proteinnet(packer: Packer, first: int, parts: Mapping[str, list[str]]) -> None:
    if not parts:
        return
    name = " ".join(parts["ID"])
    where = f"{packer.path}, line {first}, protein {name!r}"
    if missing := [key for key in ("PRIMARY", "TERTIARY", "MASK") if not parts.get(key)]:
        raise InputError(f"{where}: has no [{missing[0]}]; fetch the file again")
    try:
        axes = np.array([line.split() for line in parts["TERTIARY"]]).astype(np.float64)
    except ValueError as error:
        raise InputError(
            f"{where}: [TERTIARY] must be three lines of as many numbers, x, y and z; fetch the "
            "file again"
        ) from error
    sequence = "".join(parts["PRIMARY"])
    mask = np.frombuffer("".join(parts["MASK"]).encode(), np.uint8)
    if axes.shape != (3, 3 * len(sequence)) or len(mask) != len(sequence):
        raise InputError(
            f"{where}: has {len(sequence)} residues, but {axes.size} coordinates (nine a residue) "
            f"and a mask of {len(mask)}; fetch the file again"
        )
    # N, C-alpha, C, N, ... along each axis.
    alpha = axes[:, 1::3].T / _PICOMETRES
    packer.add(first, name, sequence, tertiary=alpha, valid=mask == ord("+"))


# ---------------------------------------------------------------- JSON


def _read_json(path: Path, packer: Packer) -> None:
    with open_bytes(path, _WHAT) as handle:
        text = io.TextIOWrapper(cast(IO[bytes], handle), encoding="utf-8", errors="replace")
        for number, record in enumerate(_objects(path, text), start=1):
            where = f"{path}, record {number}"
            name, sequence = _field(record, _NAME), _field(record, _SEQUENCE)
            if not isinstance(sequence, str):
                raise InputError(f"{where}: has no {_SEQUENCE[0]}; its fields are {list(record)}")
            parts = {key: _array(record.get(key), key, where) for key in SHAPES}
            valid = _array(_field(record, _VALID), "valid", where)
            said = "" if name is None else str(name)
            packer.add(number, said, sequence, valid=valid, **parts)


def _field(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if name in record), None)


def _array(value: Any, key: str, where: str) -> NDArray[Any] | None:
    """A list as an array; what is null in it becomes NaN."""
    if value is None:
        return None
    try:
        found = np.array(value)
        return found if found.dtype.kind in "iufb" else np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {key} must be lists of numbers, all of one length") from error


def _objects(path: Path, handle: io.TextIOWrapper) -> Iterator[dict[str, Any]]:
    """The objects of a list, or of lines, one after the other, without holding the others."""
    decoder, number = json.JSONDecoder(), 1
    text, at = handle.read(_BLOCK), 0
    while True:
        at = cast(re.Match[str], _BETWEEN.match(text, at)).end()
        if at == len(text):
            if not (text := handle.read(_BLOCK)):
                return
            at = 0
            continue
        try:
            record, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or len(text) - error.pos < _NEAR_END
            more = handle.read(max(_BLOCK, len(text) - at)) if cut else ""
            if not more:
                raise InputError(
                    f"{path}, record {number}: is no JSON ({error.msg}); fetch or write it again"
                ) from error
            text, at = text[at:] + more, 0
            continue
        if not isinstance(record, dict):
            raise InputError(f"{path}, record {number}: is no object with fields")
        yield record
        at, number = end, number + 1


# ---------------------------------------------------------------- Parquet


def _read_parquet(path: Path, packer: Packer) -> None:
    try:
        with open_anywhere(path, _WHAT) as plain, pq.ParquetFile(plain) as file:
            columns = _chosen(path, file.schema_arrow.names)
            row = 1
            for batch in file.iter_batches(_ROWS, columns=list(columns.values())):
                row = _add_rows(packer, row, {key: batch[name] for key, name in columns.items()})
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: the Parquet file is damaged or its columns are of other types ({reason})"
        ) from error


def _chosen(path: Path, names: list[str]) -> dict[str, str]:
    """The columns that are read, by what they are."""
    asked: dict[str, tuple[str, ...]]
    asked = {"sequence": _SEQUENCE, "name": _NAME, "valid": _VALID}
    asked |= {key: (key,) for key in SHAPES}
    found = {key: next((n for n in known if n in names), "") for key, known in asked.items()}
    if not found["sequence"] or not any(found[key] for key in SHAPES):
        raise InputError(
            f"{path}: needs the column sequence, and contacts or tertiary; it has "
            f"{', '.join(names)}"
        )
    return {key: name for key, name in found.items() if name}


def _add_rows(packer: Packer, row: int, columns: Mapping[str, pa.Array]) -> int:
    """Add a batch whose first row has a number; returns the number of the next."""
    count = len(columns["sequence"])
    sequences = columns["sequence"].cast(pa.string()).fill_null("").to_pylist()
    names = [""] * count
    if "name" in columns:
        names = columns["name"].cast(pa.string()).fill_null("").to_pylist()
    lists = {k: _lists(columns[k], packer.path, k) for k in (*SHAPES, "valid") if k in columns}
    for i in range(count):
        parts = {key: values[ends[i] : ends[i + 1]] for key, (values, ends) in lists.items()}
        packer.add(row + i, names[i], sequences[i], **parts)
    return row + count


def _lists(column: pa.Array, path: Path, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Entries of a column of lists (of pairs, of triples, or of single values), and their ends."""
    if column.null_count:
        raise InputError(f"{path}: a row has no {name}; remove it, or write an empty list")
    counts = pc.list_value_length(column).to_numpy().astype(np.int64)
    values, width = pc.list_flatten(column), 1
    if not pa.types.is_primitive(values.type):
        widths = pc.list_value_length(values).to_numpy()
        width = 3 if name == "tertiary" else 2
        if (widths != width).any():
            raise InputError(f"{path}: {name} must be lists of {width} numbers")
        values = pc.list_flatten(values)
    flat = values.to_numpy(zero_copy_only=False)
    return (flat.reshape(-1, width) if width > 1 else flat), np.concatenate([[0], counts.cumsum()])
