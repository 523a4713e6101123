"""Downloads against a real HTTP server on the loopback: whatever it does, the file is right or there is one clear error."""
import hashlib
import http.server
import multiprocessing
import socket
import threading
import time

import pytest

from matattn.core.data import DATASETS, DataFile, DataNotFound, DataSet, dataset, fetch, find, locate, status, verdicts, verify
from matattn.core.runtime import MatattnError

CONTENT = b"T,ok\n" + b"700,1\n"*20_000
HANDLERS = {}  # path below the server -> function(handler, number of the request)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.released = threading.Event()  # lets handlers that hang go at the end of a test

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        HANDLERS[self.path.split("/")[1]](self, len(self.server.requests))

    def send(self, body, length=None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def handler(function):
    HANDLERS[function.__name__] = function
    return function


@handler
def good(request, number):
    request.send(CONTENT)


@handler
def changed(request, number):
    request.send(CONTENT.replace(b"700,1", b"701,1", 1))


@handler
def truncated(request, number):
    request.send(CONTENT[:1000], length=len(CONTENT))


@handler
def missing(request, number):
    request.send_error(404)


@handler
def busy_once(request, number):
    request.send_error(503) if number == 1 else request.send(CONTENT)


@handler
def broken_once(request, number):
    truncated(request, number) if number == 1 else request.send(CONTENT)


@handler
def silent(request, number):
    request.server.released.wait(20)


@handler
def trickle(request, number):
    request.send(b"T", length=len(CONTENT))
    while not request.server.released.wait(.05):
        request.wfile.write(b",")


@handler
def slow_but_good(request, number):
    time.sleep(.5)
    request.send(CONTENT)


@handler
def in_pieces(request, number):  # no length told, as GitHub sends archives it packs on the way
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for start in range(0, len(CONTENT), 50_000):
        piece = CONTENT[start:start + 50_000]
        request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    request.wfile.write(b"0\r\n\r\n")


@handler
def pieces_cut_short(request, number):
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"ffff\r\nT,ok")
    request.close_connection = True


@handler
def not_yet(request, number):  # figshare, while it prepares a file
    request.send_response(202)
    request.send_header("Content-Length", "0")
    request.end_headers()


@handler
def empty(request, number):
    request.send(b"")


def a_set(*urls):
    return DataSet("toy", "a test set", (DataFile("sub/toy.csv", urls, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)),),
                   "MIT", "none", "none", 20_000, {})


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": .02})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("MATATTN_DATA", "MATATTN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path/"cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path/"cache"


def files_in(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_good_file(server, cache):
    path = find(a_set(server.url + "/good/toy.csv"))
    assert path == cache/"sub"/"toy.csv" and path.read_bytes() == CONTENT
    assert verify(a_set()) == [path]
    find(a_set(server.url + "/good/toy.csv"))
    assert len(server.requests) == 1 and files_in(cache) == ["toy.csv"]


def test_mirror_serves_registry_paths(server, cache):
    find(a_set("http://127.0.0.1:1/never"), mirror=server.url + "/good/")
    assert server.requests == ["/good/sub/toy.csv"]


@pytest.mark.parametrize(("kind", "reason", "requests"), [("changed", "other content than published, sha256 is", 1),
                                                         ("truncated", "the connection broke off", 3),
                                                         ("missing", "the server answers 404", 1)])
def test_bad_answers_leave_nothing(server, cache, kind, reason, requests):
    with pytest.raises(DataNotFound, match=reason) as error:
        find(a_set(f"{server.url}/{kind}/toy.csv"))
    assert "matattn data get toy" in str(error.value) and "MATATTN_DATA" in str(error.value)
    assert len(server.requests) == requests and files_in(cache) == []


def test_checksum_error_names_both_digests(server):
    found = hashlib.sha256(CONTENT.replace(b"700,1", b"701,1", 1)).hexdigest()
    with pytest.raises(DataNotFound, match=f"sha256 is {found}, expected {hashlib.sha256(CONTENT).hexdigest()}"):
        find(a_set(server.url + "/changed/toy.csv"))


@pytest.mark.parametrize("kind", ["busy_once", "broken_once"])
def test_second_try_succeeds(server, kind):
    assert find(a_set(f"{server.url}/{kind}/toy.csv")).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_second_address_is_used(server):
    assert find(a_set(server.url + "/missing/toy.csv", server.url + "/changed/toy.csv", server.url + "/good/toy.csv")).is_file()
    assert [path.split("/")[1] for path in server.requests] == ["missing", "changed", "good"]


@pytest.mark.parametrize("kind", ["silent", "trickle"])
def test_slow_server_is_given_up(server, cache, kind, monkeypatch):
    monkeypatch.setattr("matattn.core.data._SLOWEST", 10*len(CONTENT))
    start = time.monotonic()
    with pytest.raises(DataNotFound, match="no answer in time"):
        fetch(a_set(f"{server.url}/{kind}/toy.csv", server.url + "/good/toy.csv"), timeout=.4)
    assert time.monotonic() - start < 5 and len(server.requests) == 1 and files_in(cache) == []


def test_no_server(cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(DataNotFound, match="cannot be reached") as error:
        find(a_set(f"http://127.0.0.1:{port}/toy.csv"))
    assert time.monotonic() - start < 5 and "\n" not in str(error.value) and files_in(cache) == []


def test_unknown_host_fails_within_seconds():
    start = time.monotonic()
    with pytest.raises(DataNotFound, match="cannot be reached"):
        find(a_set("http://no-such-host.invalid/toy.csv"))
    assert time.monotonic() - start < 30


def test_offline_never_asks(server, monkeypatch):
    monkeypatch.setenv("MATATTN_OFFLINE", "1")
    with pytest.raises(DataNotFound, match="MATATTN_OFFLINE"):
        find(a_set(server.url + "/good/toy.csv"))
    assert server.requests == []


def test_without_download_only_the_machine_is_asked(server):
    with pytest.raises(DataNotFound, match="matattn data get toy"):
        find(a_set(server.url + "/good/toy.csv"), download=False)
    assert server.requests == []


def test_damaged_cache_is_renewed(server, cache):
    (cache/"sub").mkdir(parents=True)
    (cache/"sub"/"toy.csv").write_bytes(CONTENT[:-1])
    entry = a_set(server.url + "/good/toy.csv")
    with pytest.raises(MatattnError, match="delete the file"):
        verify(entry)
    assert find(entry).read_bytes() == CONTENT


def _fetch_in_process(url):
    fetch(a_set(url))


def test_two_processes_download_once(server, cache):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fetch_in_process, args=(server.url + "/slow_but_good/toy.csv",)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(server.requests) == 1 and files_in(cache) == ["toy.csv"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path/"data"
    (folder/"sub").mkdir(parents=True)
    monkeypatch.setenv("MATATTN_DATA", str(folder))
    yield folder
    (folder/"sub").chmod(0o755)
    folder.chmod(0o755)


def test_read_only_data_folder_comes_first(server, cache, data):
    (data/"sub"/"toy.csv").write_bytes(CONTENT)
    (data/"sub").chmod(0o555)
    data.chmod(0o555)
    entry = a_set(server.url + "/good/toy.csv")
    assert find(entry) == data/"sub"/"toy.csv" and locate(entry.files[0])[1] == "data folder"
    assert server.requests == [] and not cache.exists()


def test_download_goes_to_the_cache_never_to_the_data_folder(server, cache, data):
    assert find(a_set(server.url + "/good/toy.csv")) == cache/"sub"/"toy.csv"
    assert files_in(data) == []


def test_wrong_file_in_the_data_folder_is_an_error(server, data):
    (data/"sub"/"toy.csv").write_bytes(b"T,ok\n")
    with pytest.raises(MatattnError, match="unset MATATTN_DATA") as error:
        find(a_set(server.url + "/good/toy.csv"))
    expected, found = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(b"T,ok\n").hexdigest()
    assert expected in str(error.value) and found in str(error.value) and str(data) in str(error.value)
    assert not isinstance(error.value, DataNotFound) and server.requests == []


def test_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path/"file").write_text("in the way")
    monkeypatch.setenv("MATATTN_CACHE", str(tmp_path/"file"))
    with pytest.raises(MatattnError, match="set MATATTN_CACHE"):
        find(a_set(server.url + "/good/toy.csv"))


def unseen(*urls, name="raw/toy.csv", **known):
    return DataSet("toy", "a test set", (DataFile(name, urls, **known),), "MIT", "none", "none", 20_000, {}, note="see the record's page")


@pytest.mark.parametrize("kind", ["good", "in_pieces"])
def test_unseen_file_is_recorded_and_compared_ever_after(server, cache, kind):
    entry = unseen(f"{server.url}/{kind}/toy.csv")
    path = find(entry)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert path.read_bytes() == CONTENT and (cache/"raw"/"toy.csv.sha256").read_text() == digest + "\n"
    assert verdicts(entry) == {path: "as first downloaded (published checksum not yet seen)"}
    path.write_bytes(CONTENT.replace(b"700", b"701", 1))
    with pytest.raises(MatattnError, match=f"expected {digest}; delete the file"):
        verify(entry)
    assert find(entry).read_bytes() == CONTENT and len(server.requests) == 2  # fetched anew
    path.unlink()
    with pytest.raises(DataNotFound, match="other content than published, sha256 is"):
        find(unseen(f"{server.url}/changed/toy.csv"))


@pytest.mark.parametrize(("kind", "reason", "requests"), [("not_yet", "the server answers 202", 3), ("empty", "0 bytes", 1),
                                                         ("pieces_cut_short", "the connection broke off", 3)])
def test_unseen_file_that_does_not_come(server, cache, kind, reason, requests):
    with pytest.raises(DataNotFound, match=reason):
        find(unseen(f"{server.url}/{kind}/toy.csv"))
    assert len(server.requests) == requests and files_in(cache) == []


@pytest.mark.parametrize("known", [{"size": len(CONTENT) + 1}, {"md5": "0"*32}])
def test_what_the_source_states_is_compared(server, cache, known):
    with pytest.raises(DataNotFound, match="other content than published"):
        find(unseen(f"{server.url}/good/toy.csv", **known))
    assert files_in(cache) == []
    right = {"size": len(CONTENT), "md5": hashlib.md5(CONTENT).hexdigest()}
    assert find(unseen(f"{server.url}/good/toy.csv", **right)).is_file()


def test_a_page_instead_of_an_archive(server, cache):
    with pytest.raises(DataNotFound, match="it is no zip archive"):
        find(unseen(f"{server.url}/good/toy.zip", name="raw/toy.zip"))
    assert files_in(cache) == []


def test_a_file_without_an_address():
    with pytest.raises(DataNotFound, match="no address of the file itself is known; see the record's page"):
        find(unseen())


def test_a_copy_by_hand_needs_no_network(cache, monkeypatch):
    monkeypatch.setenv("MATATTN_OFFLINE", "1")
    (cache/"raw").mkdir(parents=True)
    (cache/"raw"/"toy.csv").write_bytes(CONTENT)
    assert find(unseen()) == cache/"raw"/"toy.csv"
    assert next(iter(verdicts(unseen()).values())).startswith("published checksum not yet seen, found sha256 ")


def test_prepared_arrays_come_first(server, data):
    arrays = DataFile("sub/toy.npz", (), hashlib.sha256(b"arrays").hexdigest(), 6)
    entry = DataSet("toy", "a test set", (DataFile("raw/toy.csv", (server.url + "/good/toy.csv",)),), "MIT", "none", "none", 1, {},
                    prepared=arrays)
    (data/"sub"/"toy.npz").write_bytes(b"arrays")
    assert find(entry) == data/"sub"/"toy.npz" and server.requests == []
    (data/"sub"/"toy.npz").write_bytes(b"arrayz")
    with pytest.raises(MatattnError, match="unset MATATTN_DATA"):
        find(entry)


def test_the_registry():
    assert {"qm9", "mp36k", "mp2018", "elasticity", "hoip", "castelli", "jarvis_dft3d", "fullerene_md", "smfe12", "pt_graphene",
            "scann_molecules", "mos2", "cqd"} <= set(DATASETS)
    for entry in DATASETS.values():
        assert entry.license and entry.citation and entry.doi and entry.defects and entry.splits and entry.rows, entry.name
        assert all(file.urls or "by hand" in entry.note for file in entry.files), entry.name
    assert {row["where"] for row in status()} == {"not here"}
    with pytest.raises(MatattnError, match="did you mean 'castelli'"):
        dataset("casteli")
