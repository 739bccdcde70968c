"""Data sets: found in order, fetched whole or not at all, verified by content."""

import gzip
import hashlib
import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helicon.data.catalogue.catalogue import (
    DATASETS,
    DataFile,
    Dataset,
    fetch,
    find,
    locate,
    select,
    splits,
    verify,
)
from helicon.errors import InputError, WorkError

TEXT = b"sequence,label\n" + b"ACGT,1\n" * 50_000
BODIES = {"/train.csv": TEXT, "/dev.csv": TEXT[:100], "/packed.gz": gzip.compress(TEXT)}


class Home(BaseHTTPRequestHandler):
    """A public home that sometimes breaks off, in this process."""

    def do_GET(self):
        if self.path not in BODIES and self.path not in ("/short.csv", "/empty.csv"):
            self.send_error(404)
            return
        body = BODIES.get(self.path, TEXT if self.path == "/short.csv" else b"")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if self.path == "/short.csv" else body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def home():
    with ThreadingHTTPServer(("127.0.0.1", 0), Home) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HELICON_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "data"


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def toy(home, monkeypatch):
    def make(*files):
        made = (DataFile(f"toy/{path}", url and f"{home}/{url}", sha) for path, url, sha in files)
        dataset = Dataset("toy", "a toy", "none", "its home", "", tuple(made))
        monkeypatch.setitem(DATASETS, "toy", dataset)

    return make


def nothing_left(cache):
    return not [path for path in cache.rglob("*") if path.is_file()]


def test_the_catalogue_is_sound():
    for name, dataset in DATASETS.items():
        assert dataset.name == name
        assert dataset.description
        assert dataset.licence
        assert dataset.home.startswith("https://")
        assert len({file.path for file in dataset.files}) == len(dataset.files) > 0
        for file in dataset.files:
            assert file.path.startswith(f"{name}/")
            assert file.url is None or file.url.startswith("https://")
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert len(select("gue-mouse").files) == 9
    assert select("hg38").files[1].path == "hg38/human-sequences.bed"
    assert select("hg38").files[1].url.endswith("/basenji_barnyard2/sequences_human.bed")


def test_names_go_on_into_the_folder():
    assert {file.path for file in select("gue-mouse/2/").files} == {
        f"gue-mouse/2/{part}.csv.gz" for part in ("train", "dev", "test")
    }
    assert len(select("gue-mouse/2/dev.csv.gz").files) == 1
    with pytest.raises(InputError, match=r"no data set 'gue-mose/2'; did you mean gue-mouse/2"):
        select("gue-mose/2")
    with pytest.raises(InputError, match="see `helicon data list`"):
        select("qqqqqq")
    with pytest.raises(InputError, match="no data set 'gue-mouse/2/d'"):
        select("gue-mouse/2/d")


def test_data_folders_come_before_the_cache(tmp_path, cache, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("HELICON_DATA", f"{first}:{second}")
    assert locate("gue-mouse/2") is None
    for root in (cache, second, first):
        for part in ("train", "dev", "test"):
            assert locate("gue-mouse/2") != root / "gue-mouse" / "2"
            path = root / "gue-mouse" / "2" / f"{part}.csv.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(TEXT))
        assert find("gue-mouse/2") == root / "gue-mouse" / "2"
    assert find("gue-mouse/2/dev.csv.gz") == first / "gue-mouse" / "2" / "dev.csv.gz"
    assert splits("gue-mouse/2") == {
        "train": first / "gue-mouse" / "2" / "train.csv.gz",
        "validation": first / "gue-mouse" / "2" / "dev.csv.gz",
        "test": first / "gue-mouse" / "2" / "test.csv.gz",
    }
    with pytest.raises(InputError, match="no train, dev or test file"):
        splits("gue-mouse/2/dev.csv.gz")
    assert set(verify("gue-mouse/2").values()) == {"changed"}


def test_what_is_not_here_says_what_to_do():
    with pytest.raises(InputError) as caught:
        find("gue-mouse/2")
    said = str(caught.value)
    assert "run `helicon data fetch gue-mouse/2`, or put gue-mouse/2/dev.csv.gz," in said
    with pytest.raises(InputError, match=r"a public address: get it .*ProteinGym and put human"):
        find("human-clinical-proteins")


def test_fetch_compresses_checks_and_reports(cache, toy):
    toy(("train.csv.gz", "train.csv", sha(TEXT)), ("dev.csv", "dev.csv", sha(TEXT[:100])))
    seen = []
    assert fetch("toy", progress=lambda *step: seen.append(step)) == cache / "toy"
    assert gzip.decompress((cache / "toy/train.csv.gz").read_bytes()) == TEXT
    assert (cache / "toy/dev.csv").read_bytes() == TEXT[:100]
    assert seen[-1] == ("toy/dev.csv", 100, 100)
    steps = [(done, total) for path, done, total in seen if path == "toy/train.csv.gz"]
    assert len(steps) > 1
    assert steps == sorted(steps)
    assert steps[-1] == (len(TEXT), len(TEXT))
    assert verify("toy") == {"toy/train.csv.gz": "ok", "toy/dev.csv": "ok"}
    before = (cache / "toy/dev.csv").stat().st_mtime_ns
    assert fetch("toy") == cache / "toy"
    assert (cache / "toy/dev.csv").stat().st_mtime_ns == before
    assert sorted(p.name for p in (cache / "toy").iterdir()) == ["dev.csv", "train.csv.gz"]


def test_fetch_keeps_what_is_compressed_already(cache, toy):
    toy(("packed.gz", "packed.gz", sha(TEXT)), ("free.gz", "packed.gz", None))
    fetch("toy")
    assert (cache / "toy/packed.gz").read_bytes() == BODIES["/packed.gz"]
    assert verify("toy") == {"toy/packed.gz": "ok", "toy/free.gz": "no checksum"}


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(
    ("url", "digest", "error", "said"),
    [
        ("train.csv", sha(b"other"), WorkError, "its checksum differs"),
        ("short.csv", None, WorkError, "broke off after 1,000 of 350,015 bytes"),
        ("empty.csv", None, WorkError, "broke off after 0 of 0 bytes"),
        ("gone.csv", None, InputError, r"answers 404 .* put it here as .*toy/a.csv"),
    ],
)
def test_a_failed_fetch_leaves_nothing(cache, toy, name, url, digest, error, said):
    toy((name, url, digest))
    with pytest.raises(error, match=said) as caught:
        fetch("toy")
    assert "\n" not in str(caught.value)
    assert nothing_left(cache)
    assert verify("toy") == {f"toy/{name}": "missing"}


def test_a_broken_fetch_goes_on_with_the_files_that_lack(cache, toy):
    toy(("dev.csv", "dev.csv", None), ("short.csv", "short.csv", None))
    with pytest.raises(WorkError):
        fetch("toy")
    assert [path.name for path in (cache / "toy").iterdir()] == ["dev.csv"]
    toy(("dev.csv", "gone.csv", None), ("short.csv", "train.csv", sha(TEXT)))
    assert fetch("toy") == cache / "toy"


def test_no_internet_says_what_to_put_where(cache, monkeypatch):
    file = DataFile("toy/a.csv", "http://127.0.0.1:9/a.csv")
    monkeypatch.setitem(DATASETS, "toy", Dataset("toy", "", "", "", "", (file,)))
    with pytest.raises(InputError) as caught:
        fetch("toy")
    assert "cannot be reached" in str(caught.value)
    assert f"put it here as {cache / 'toy/a.csv'}" in str(caught.value)
    assert nothing_left(cache)


def test_files_without_an_address_are_named_after_the_others_came(cache, toy):
    toy(("own.csv", None, None), ("dev.csv", "dev.csv", None))
    with pytest.raises(
        InputError, match=r"^toy/own.csv: no public address .* from its home by hand"
    ):
        fetch("toy")
    assert (cache / "toy/dev.csv").exists()


def test_verify_sees_damage(cache, toy):
    toy(("a.csv.gz", "train.csv", sha(TEXT)))
    path = fetch("toy") / "a.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert verify("toy") == {"toy/a.csv.gz": "changed"}
    path.write_bytes(TEXT)  # not compressed, but the right content
    assert verify("toy") == {"toy/a.csv.gz": "ok"}
    path.write_bytes(b"")
    assert verify("toy") == {"toy/a.csv.gz": "changed"}


def test_a_transfer_that_dies_is_a_failure_of_the_work(cache, toy, monkeypatch):
    toy(("a.csv", "train.csv", None))

    def dies(self, amount):
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(http.client.HTTPResponse, "read", dies)
    with pytest.raises(WorkError, match="broke off after 0 of 350,015 bytes"):
        fetch("toy")
    assert nothing_left(cache)
