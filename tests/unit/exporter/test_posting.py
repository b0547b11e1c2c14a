"""The HTTP client: one request, one answer, within a time, whatever the other side does."""

import contextlib
import datetime
import email.utils
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from otel_usage.exporter.forwarder import posting
from otel_usage.exporter.forwarder.posting import Answer, Poster, PostError
from tests.integration.otlp_sink import HANG, RESET, Reply, sink


def poster(url, **options):
    return Poster(url, {"a-header": "its value"}, timeout_seconds=5, **options)


def serve_once(*steps: Callable[[socket.socket], None]) -> str:
    """The address of a server that does a step for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for step in steps:
                with listener.accept()[0] as connection:
                    step(connection)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"


def saying(*parts: bytes) -> Callable[[socket.socket], None]:
    """A step that reads the beginning of a request, answers with these bytes, and closes."""

    def step(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)

    return step


def test_a_request_and_its_answer():
    """The body arrives whole under the path, with its headers; the answer is status, type and body."""
    body = bytes(range(256)) * 20_000
    with sink(reply=lambda _: Reply(202, {"Content-Type": "Application/X"}, b"thanks", is_kept=False)) as found:
        assert poster(f"{found.endpoint}/v1/traces").post(body) == Answer(202, "application/x", None, b"thanks")
    (arrival,) = found.arrivals
    assert (arrival.path, arrival.body) == ("/v1/traces", body)
    assert arrival.headers["a-header"] == "its value"
    assert arrival.headers["host"] == found.endpoint.removeprefix("http://")
    assert arrival.headers["user-agent"].startswith("otel-usage/")


def test_the_connection_is_kept():
    """Several requests use one connection; after `close` there is another."""
    ports = []
    with sink() as found:
        one = poster(found.endpoint)
        for _ in range(3):
            one.post(b"x")
            assert one._connection is not None
            ports.append(one._connection.stream._sock.getsockname()[1])
        one.close()
        one.post(b"x")
        ports.append(one._connection.stream._sock.getsockname()[1])
        one.close()
    assert len(set(ports[:3])) == 1
    assert ports[3] != ports[0]


def test_a_header_is_sent_once():
    """What is given in any case replaces ours of that name."""
    given = {"Content-Type": "a/b", "user-agent": "mine", "X-Some": "thing"}
    heads: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        heads.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    url = serve_once(answer)
    Poster(url, given, timeout_seconds=5).post(b"x")
    fields = [line.split(b": ") for line in heads[0].lower().split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    assert sorted(name for name, _ in fields) == [b"content-length", b"content-type", b"host", b"user-agent", b"x-some"]
    assert dict(fields)[b"user-agent"] == b"mine"


def test_an_address_that_says_nothing_leaves_time_for_the_next(monkeypatch):
    """Of several addresses of a host the first may be lost without a word; each gets its part of the time."""
    with contextlib.ExitStack() as held, sink() as found:
        silent = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0)).getsockname()
        for _ in range(4):  # its queue is full: what comes then is not answered
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent)
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in (silent, ("127.0.0.1", found.port))]
        monkeypatch.setattr(posting._socket, "getaddrinfo", lambda *_: addresses)
        one = Poster("http://usage.example/", {}, timeout_seconds=1)
        assert one.post(b"x").status == 200
        one.close()


def test_a_kept_connection_that_is_closed_is_replaced():
    """The other side may close a connection between two requests: the second is sent again on a new one."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    one = poster(serve_once(saying(answer), saying(answer)))
    assert one.post(b"x").status == 200
    assert one.post(b"x").status == 200
    one.close()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"), b"abcde"),
        ((b"HTTP/1.1 200 OK\r\n\r\nuntil the end",), b"until the end"),
        ((b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",), b"x"),
        ((b"HTTP/1.0 200 OK\r\n\r\n",), b""),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"y" * 200000), b"y" * 65536),
    ],
    ids=["chunked", "until it closes", "continue", "old", "long"],
)
def test_answers_of_every_form(said, body):
    """Chunked, delimited by the end, after a 100: the body is read; of a long one only the beginning."""
    one = poster(serve_once(saying(*said)))
    assert one.post(b"x").body == body
    one.close()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (saying(), "closed before an answer"),
        (saying(b"SSH-2.0-OpenSSH_9.9\r\n"), "no HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"), "IncompleteRead"),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500), "100 headers"),
    ],
    ids=["nothing", "another protocol", "torn", "headers"],
)
def test_answers_that_are_none(step, message):
    """What is no whole answer is an error that says so, in one line."""
    with pytest.raises(PostError, match=message) as error:
        poster(serve_once(step)).post(b"x")
    assert "\n" not in str(error.value)


def test_an_early_refusal_is_heard():
    """A server that answers 413 and closes before it has read the body is understood."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    assert poster(serve_once(refuse)).post(b"x" * (8 << 20)).status == 413


def test_a_reset_is_an_error():
    """A connection that is reset instead of answered."""
    with sink(reply=lambda _: RESET) as found, pytest.raises(PostError, match=r"reset|closed"):
        poster(found.endpoint).post(b"x")


def test_nobody_listens():
    """A port that nobody listens on, and a name that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PostError, match="refused"):
        poster(f"http://127.0.0.1:{port}/").post(b"x")
    with pytest.raises(PostError):
        poster("http://nowhere.invalid/").post(b"x")


def test_the_time_runs_out():
    """Who hangs, and who drips, is left after the time of a whole request."""

    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        try:
            while True:
                connection.sendall(b"H")
                time.sleep(0.02)
        except OSError:
            return

    with sink(reply=lambda _: HANG) as found, pytest.raises(PostError, match=r"within 0\.2 seconds"):
        poster(found.endpoint).post(b"x", timeout_seconds=0.2)
    with pytest.raises(PostError, match=r"within 0\.2 seconds"):
        poster(serve_once(drip)).post(b"x", timeout_seconds=0.2)


def test_retry_after_in_seconds_and_as_a_date():
    """RFC 9110: either form; what is neither is as if it were not there."""
    said = {"7": 7.0, " 0 ": 0.0, "soon": None, "-3": None, "1.5": None}
    date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    for value, seconds in said.items():
        with sink(reply=lambda _, value=value: Reply(503, {"Retry-After": value})) as found:
            assert poster(found.endpoint).post(b"").retry_after == seconds
    for when, low, high in ((date, 80, 91), (date - datetime.timedelta(days=1), 0, 0)):
        value = email.utils.format_datetime(when, usegmt=True)
        with sink(reply=lambda _, value=value: Reply(503, {"Retry-After": value})) as found:
            retry_after = poster(found.endpoint).post(b"").retry_after
            assert retry_after is not None
            assert low <= retry_after <= high


def test_instrumentations_of_http_client_see_nothing(monkeypatch):
    """What traces `http.client.HTTPConnection`, or replaces `socket.socket`, is not met."""

    def traced(*_: object, **__: object) -> None:
        raise AssertionError("seen")

    with sink() as found:
        for name in ("connect", "request", "putrequest", "getresponse", "send"):
            monkeypatch.setattr(http.client.HTTPConnection, name, traced)
        monkeypatch.setattr(socket, "create_connection", traced)
        assert poster(found.endpoint).post(b"x").status == 200


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("identity")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


TLS = """
import sys
{before}
from pathlib import Path
from otel_usage.exporter.native import start_thread, Gate
from otel_usage.exporter.forwarder.posting import Poster, PostError
gate = Gate()
def post():
    try:
        trusted = Path(sys.argv[2])
        one = Poster(sys.argv[1], {{}}, timeout_seconds=10, certificate=trusted, client_certificate=trusted,
                     client_key=Path(sys.argv[3]))
        print([one.post(b"x" * 300_000).status for _ in range(3)])
    except PostError as error:
        print(error)
    gate.open()
start_thread(post)
assert gate.wait(20)
"""
PATCHES = {
    "plain": "",
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()",
}


@pytest.mark.parametrize("before", PATCHES.values(), ids=PATCHES)
def test_over_tls_from_a_native_thread(before, identity):
    """Both sides show their certificates, also where Python's sockets and TLS are replaced."""
    certificate, key = identity
    with sink() as found:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate)
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
        found.use_tls(context)
        url = found.endpoint.replace("http:", "https:")
        command = [sys.executable, "-c", TLS.format(before=before), url, certificate, key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[200, 200, 200]\n", done.stderr
    assert len(found.kept) == 3


def test_a_certificate_that_is_not_trusted(identity):
    """Nothing is sent to who cannot show who it is."""
    with sink() as found:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*identity)
        found.use_tls(context)
        with pytest.raises(PostError, match=r"(?i)certificate"):
            poster(found.endpoint.replace("http:", "https:")).post(b"x")
    assert found.arrivals == []


def test_a_kept_connection_that_is_cut_is_replaced(identity):
    """Who is tired of a connection may close it below TLS, without a word."""
    certificate, key = identity
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection.dup(), server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            os.close(wrapped.detach())

    one = poster(serve_once(answer, answer).replace("http:", "https:"), certificate=certificate)
    assert [one.post(b"x").status for _ in range(2)] == [200, 200]
    one.close()


def test_no_codec_is_imported_for_a_name():
    """A process may be forked at any time, amid an import of this thread too: the child would wait for that."""
    code = """
import sys
from otel_usage.exporter.forwarder.posting import Poster, PostError
try:
    Poster("http://localhost:1/", {}, timeout_seconds=5).post(b"x")
except PostError:
    print("encodings.idna" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_files_that_are_not_there(tmp_path):
    """The message names the file."""
    with sink() as found, pytest.raises(PostError, match=r"No such file|missing"):
        poster(found.endpoint.replace("http:", "https:"), certificate=tmp_path / "missing.pem").post(b"x")
