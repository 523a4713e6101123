"""Downloads against a real HTTP server on the loopback: whatever it does, the file is right or there is one clear error."""
import hashlib
import http.server
import multiprocessing
import socket
import threading
import time

import pytest

from matattn.core.data import DataFile, DataNotFound, DataSet, fetch, find, locate, verify
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
