"""Published weights: fetched once, verified, converted; never where new weights are meant."""

import dataclasses
import hashlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from carp_files import agree, published, real

from helicon.errors import InputError, WorkError
from helicon.models import registry
from helicon.models.hub import is_untrained, load, untrained
from helicon.models.info import info
from helicon.models.parts.family import MIRROR
from helicon.models.published import published_folder
from helicon.models.registry import CHECKPOINTS

NAME = "carp-600k"
FILE = "carp_600k.pt"


def checkpoint_bytes() -> bytes:
    packed = io.BytesIO()
    torch.save(published()[0], packed)
    return packed.getvalue()


BODY = checkpoint_bytes()
DIGEST = hashlib.sha256(BODY).hexdigest()


class Home(ThreadingHTTPServer):
    """A mirror on this machine; tests set how it behaves."""

    body = BODY
    cut: int | None = None  # break off after so many bytes of the file
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files"


class Answers(BaseHTTPRequestHandler):
    server: Home

    def do_GET(self) -> None:
        home, wanted = self.server, self.headers["Range"]
        home.asked.append(wanted)
        if self.path != f"/files/{FILE}":
            self.send_error(404)
            return
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and home.ranges else 0
        if first >= len(home.body):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(home.body) - first))
        self.end_headers()
        self.wfile.write(home.body[first : home.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint's folder in a cache of the test; its checksum is the fixture's."""
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(MIRROR, "http://127.0.0.1:9")
    known = dataclasses.replace(CHECKPOINTS[NAME], sha256=DIGEST)
    monkeypatch.setitem(CHECKPOINTS, NAME, known)
    return tmp_path / "cache" / "models" / NAME


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with Home() as server:
        monkeypatch.setenv(MIRROR, f"{server.address}/")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def check_model() -> None:
    tensors = published()[1]
    mask = real(tensors)
    with torch.no_grad():
        logits = load(NAME)(tensors["input_ids"], mask).logits
    assert agree(logits[mask], tensors["logits"][mask])


def test_the_registry_has_the_published_addresses_and_checksums(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    monkeypatch.delenv(MIRROR, raising=False)
    for name, one in CHECKPOINTS.items():
        assert one.url.startswith(f"https://zenodo.org/record/6564798/files/{one.file}")
        assert len(one.sha256) == 64 and set(one.sha256) <= set("0123456789abcdef")
        assert registry.size(name) == registry.size(one.name)
    assert CHECKPOINTS["carp-38m"].file == "carp_38M.pt"
    assert CHECKPOINTS["carp-38m"].sha256.startswith("b66b68bc")
    assert CHECKPOINTS["carp"] is CHECKPOINTS["carp-640m"]
    assert len({one.sha256 for one in CHECKPOINTS.values()}) == 4


def test_the_first_use_fetches_and_later_ones_open_the_folder(
    home: Home, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    check_model()
    assert home.asked == [None]
    assert capsys.readouterr().err == f"fetching {FILE}\n"
    assert contents(cache) == {"model"}
    monkeypatch.setenv(MIRROR, "http://127.0.0.1:9")
    check_model()
    assert load(NAME).name_or_path == str(cache / "model")
    assert capsys.readouterr().err == ""


def test_a_file_that_is_not_the_published_one_is_never_read(home: Home, cache: Path):
    home.body = BODY[:-1] + b"x"
    with pytest.raises(WorkError, match=r"not the published file .* nothing was kept") as caught:
        load(NAME)
    assert "\n" not in str(caught.value) and DIGEST in str(caught.value)
    assert contents(cache) == set()
    home.body = BODY
    check_model()


def test_a_transfer_that_broke_off_goes_on_where_it_was(home: Home, cache: Path):
    home.cut = 100_000
    with pytest.raises(
        WorkError, match=rf"after 100,000 of {len(BODY):,} bytes; what came is kept"
    ):
        load(NAME)
    assert contents(cache) == {f"{FILE}.part"}
    home.cut = None
    check_model()
    assert home.asked == [None, "bytes=100000-"]
    assert contents(cache) == {"model"}


def test_a_home_that_gives_no_part_gives_the_whole_again(home: Home, cache: Path):
    cache.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(b"x" * 1000)
    home.ranges = False
    check_model()


@pytest.mark.parametrize("extra", [b"", b"x"])
def test_a_part_that_is_the_whole_or_longer(home: Home, cache: Path, extra: bytes):
    cache.mkdir(parents=True)
    (cache / f"{FILE}.part").write_bytes(BODY + extra)
    if extra:
        with pytest.raises(WorkError, match="not the published file"):
            load(NAME)
    check_model()


@pytest.mark.parametrize("path", ["", "/nothing"])
def test_without_a_home_one_line_says_what_to_do(
    path: str, home: Home, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    address = f"{home.address}{path}" if path else "http://127.0.0.1:9"
    monkeypatch.setenv(MIRROR, address)
    with pytest.raises(InputError) as caught:
        load(NAME)
    said = str(caught.value)
    reason = "its home answers 404 (Not Found)" if path else "cannot be reached"
    assert said.startswith(f"{address}/{FILE}: {reason}") and "\n" not in said
    for word in (
        f"fetch {CHECKPOINTS[NAME].address}",
        f"SHA-256 {DIGEST}",
        f"put it here as {cache / FILE}",
        f"`helicon convert {FILE} OUT --source carp` and use OUT",
    ):
        assert word in said
    assert contents(cache) == set()


def test_a_file_that_was_put_there_by_hand_is_taken(cache: Path):
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(BODY + b"x")
    with pytest.raises(InputError, match=f"{FILE}: is not the published file"):
        load(NAME)
    (cache / FILE).write_bytes(BODY)
    check_model()
    assert contents(cache) == {FILE, "model"}


def test_what_a_killed_conversion_left_is_cleared(cache: Path):
    (cache / ".model.12345678.tmp").mkdir(parents=True)
    (cache / ".model.12345678.tmp" / "config.json").write_text("{")
    (cache / FILE).write_bytes(BODY)
    check_model()
    assert contents(cache) == {FILE, "model"}


def test_two_at_once_fetch_once(home: Home, cache: Path):
    """The lock is one of the open file: it holds between threads as between processes."""
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(published_folder, [NAME, NAME]))
    assert folders == [cache / "model"] * 2
    assert home.asked == [None]
    check_model()


def test_where_new_weights_are_meant_nothing_is_fetched(home: Home, cache: Path):
    torch.manual_seed(0)
    first, second = untrained(NAME), untrained(NAME)
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert not first.training
    assert info(NAME).parameters == 607_630
    assert info("carp-38m").backbone_parameters == 37_858_544
    assert not home.asked and not cache.exists()


def test_only_sizes_without_published_weights_load_new_ones():
    assert is_untrained("convnova-tiny") and is_untrained("transformer-600k")
    assert not is_untrained("carp-38m") and not is_untrained("some/folder")
    assert load("convnova-tiny").name_or_path == ""
    with pytest.raises(InputError, match="cannot be reached"):
        published_folder("carp-38m")
