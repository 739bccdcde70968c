"""What every test shares."""

import gzip
import zlib
from functools import partial
from typing import Any

import pytest

# A gzip header holds the time: bytes made while tests are collected would differ between processes.
gzip.compress = partial(gzip.compress, mtime=0)


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> str | None:
    """Name a case of bytes that are no readable text by its length and checksum."""
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return f"{argname}-{len(val)}-{zlib.crc32(val):08x}"
    return None
