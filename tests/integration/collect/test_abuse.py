"""What clients do wrong, by accident or on purpose: it is refused, memory stays bounded, and others are served."""

import contextlib
import gzip
import resource
import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from backports import zstd

from otel_usage.exporter.otlp.wire import length_delimited
from tests.integration.collect.receiving import JSON, PROTOBUF, Client, body_of, receiving
from tests.integration.site import wait_for

MEBIBYTE = 1 << 20
SIZE = 60 * MEBIBYTE
HEAD = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n".encode()
# Far beyond what a receiver needs for the largest body it takes: that, twice, its pieces, its lines.
MOST_MEBIBYTES = 700


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    """A receiver that waits for nobody longer than a second; afterwards it lives, is small and takes good requests."""
    with receiving(tmp_path_factory.mktemp("abuse"), "--timeout", "1", "--max-connections", "15000") as running:
        assert running.post(body_of([1])).status == 200
        yield running
        assert running.post(body_of([2])).status == 200
        assert running.rows() == [1, 2]
        assert running.peak_mebibytes() < MOST_MEBIBYTES
        assert "Traceback" not in running.log
        assert "was answered 503" not in running.log


def compressed(content: bytes) -> tuple[bytes, str]:
    return zstd.compress(content), "zstd"


def in_json(repeated: str) -> bytes:
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":[%b{}]}]}]}' % (repeated.encode() * (SIZE // len(repeated)))


def in_protobuf(repeated: bytes, depth: int) -> bytes:
    """A message of so many levels whose innermost says the same again and again."""
    content = repeated * (SIZE // len(repeated))
    for number in (1, 2, 2)[:depth][::-1]:
        content = length_delimited(number, content)
    return content


BOMBS = {
    "spans of nothing": (lambda: in_protobuf(b"\x12\x00", 2), PROTOBUF, 413),
    "server spans of nothing": (lambda: in_protobuf(b"\x12\x02\x30\x02", 2), PROTOBUF, 413),
    "scopes of nothing": (lambda: in_protobuf(b"\x12\x00", 1), PROTOBUF, 413),
    "resources of nothing": (lambda: in_protobuf(b"\x0a\x00", 0), PROTOBUF, 413),
    "a span of attributes of nothing": (lambda: in_protobuf(b"\x4a\x00", 3), PROTOBUF, 200),
    "objects of nothing": (lambda: in_json("{},"), JSON, 413),
    "a span of objects of nothing": (lambda: in_json('{"kind":2,"attributes":[{}]},'), JSON, 413),
    "a deep array": (lambda: b"[" * SIZE, JSON, 400),
    "deep objects": (lambda: b'{"resourceSpans":' * (SIZE // 17), JSON, 400),
    "zeros": (lambda: bytes(SIZE), PROTOBUF, 400),
    "too large": (lambda: bytes(200 * MEBIBYTE), PROTOBUF, 413),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs(receiver, case):
    """A few kilobytes that would be gigabytes of spans are refused at once, or told as rejected."""
    make, content_type, status = BOMBS[case]
    body, encoding = compressed(make())
    assert len(body) < MEBIBYTE
    answer = receiver.post(body, content_type, Content_Encoding=encoding)
    assert answer.status == status, answer


def test_a_gzip_bomb(receiver):
    """The same with gzip, also in ten thousand members."""
    assert receiver.post(gzip.compress(bytes(200 * MEBIBYTE)), Content_Encoding="gzip").status == 413
    assert receiver.post(gzip.compress(b"") * 10_000, Content_Encoding="gzip").status == 400


def test_a_window_of_gigabytes(receiver):
    """A frame that asks for a window of two gigabytes is refused."""
    options = {zstd.CompressionParameter.window_log: 31, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(bytes(1000)) + compressor.flush()
    assert receiver.post(body, Content_Encoding="zstd").status == 400


def test_values_nested_deeply(receiver):
    """Deeper than protobuf's own bound, and JSON deeper than Python's stack, are no OTLP."""
    value = b"\x0a\x01x"
    for _ in range(5000):
        value = length_delimited(5, length_delimited(1, value))
    span = b"\x30\x02" + length_delimited(9, b"\x0a\x01a" + length_delimited(2, value))
    body = length_delimited(1, length_delimited(2, length_delimited(2, span)))
    assert receiver.post(body).status in (200, 400)
    nested = b'{"arrayValue":{"values":[' * 5000 + b"]}}" * 5000
    wrapped = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":2,"attributes":[{"key":"a","value":%b}]}]}]}]}'
    assert receiver.post(wrapped % nested, JSON).status in (200, 400)


GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy's method": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "a proxy's method with a path": b"CONNECT /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: -1\r\n\r\n",
    "a chunk that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nConnection: close\r\n: x\r\n\r\n",
    "a null byte": b"GET / HTTP/1.1\r\nHost: \x00\r\n\r\n",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage(receiver, case):
    """What is no HTTP/1.1 is answered 4xx, and the connection closed."""
    answer = receiver.raw(GARBAGE[case])
    assert answer.startswith(b"HTTP/1.1 4"), answer


ENDLESS = {
    "a header": (b"GET / HTTP/1.1\r\nX: ", b"x" * 65536),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
    "a path": (b"GET /", b"x" * 65536),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
    "the extension of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "empty lines": (b"", b"\r\n" * 1000),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_endless(receiver, case):
    """What does not end is cut off long before it fills memory."""
    begin, more = ENDLESS[case]
    sent = 0
    client = socket.create_connection(("127.0.0.1", receiver.port), timeout=60)
    with client, contextlib.suppress(ConnectionError):
        client.sendall(begin)
        while sent < 20 * MEBIBYTE:
            client.sendall(more)
            sent += len(more)
    assert sent < 20 * MEBIBYTE


def test_a_chunked_body_without_an_end(receiver):
    """It is refused at its bound, and the connection closed soon after: the answer can be read."""
    answer = b""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(80):
                client.sendall(b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n")
            answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 "), answer


SLOW = {
    "nothing at all": (b"", b""),
    "headers that stop": (HEAD, b""),
    "a body that stops": (HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(10), b"HTTP/1.1 503 "),
    "a body that never begins": (HEAD + b"Content-Length: 1000\r\n\r\n", b"HTTP/1.1 503 "),
    "a chunk that stops": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", b"HTTP/1.1 503 "),
}


def test_slow_clients(receiver):
    """Whoever takes too long is told to come again, where a request can be seen, and disconnected."""
    with ThreadPoolExecutor(len(SLOW)) as threads:
        answers = dict(zip(SLOW, threads.map(lambda case: receiver.raw(SLOW[case][0]), SLOW), strict=True))
    for case, (_, answered) in SLOW.items():
        assert answers[case].startswith(answered), case
        assert bool(answers[case]) == bool(answered), case
        assert not answered or b"retry-after: 1" in answers[case], case


def test_a_byte_at_a_time(receiver):
    """A client that sends a byte now and then has no more time than one that sends none."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as client:
        client.sendall(HEAD + b"X: ")
        client.settimeout(0.05)
        sending = True
        began = time.monotonic()
        while sending:
            try:
                client.sendall(b"x")
                sending = bool(client.recv(100))
            except TimeoutError:
                assert time.monotonic() - began < 60
            except ConnectionError:
                sending = False


def test_ten_thousand_connections(receiver):
    """Ten thousand clients that say nothing, or half a request, cost little, and others are served meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    if hard < wanted + 500:
        pytest.skip(f"a process may have only {hard} descriptors here (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = receiver.resident_mebibytes()
    clients: list[socket.socket] = []
    try:
        for number in range(wanted):
            client = socket.create_connection(("127.0.0.1", receiver.port), timeout=60)
            clients.append(client)
            if number % 2:
                client.sendall(HEAD + b"Content-Length: 100\r\n\r\n" if number % 4 == 1 else HEAD)
        assert receiver.ask("GET", "/health").status == 200
        assert receiver.post(body_of([1])).status == 200
        assert receiver.peak_mebibytes() < max(before + 200, MOST_MEBIBYTES)
        with selectors.DefaultSelector() as selector:
            for client in clients:
                client.setblocking(False)
                selector.register(client, selectors.EVENT_READ, bytearray())
            # All of them are disconnected in the end, those with half a request after an answer.
            wait_for(lambda: disconnected(selector) or not selector.get_map())
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def disconnected(selector: selectors.BaseSelector) -> bool:
    """Read what has come, and forget who is gone; whether nobody is left."""
    for key, _ in selector.select(1):
        gone = False
        try:
            answer = key.fileobj.recv(65536)  # type: ignore[union-attr]
            gone = not answer
            key.data.extend(answer)
            assert not key.data or key.data.startswith(b"HTTP/1.1 503 "), key.data
        except ConnectionError:
            gone = True
        if gone:
            selector.unregister(key.fileobj)
    return not selector.get_map()


def test_more_connections_than_there_may_be(tmp_path):
    """Those beyond are told to come again; once there is room they are served."""
    with receiving(tmp_path, "--max-connections", "5") as receiver, contextlib.ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(socket.create_connection(("127.0.0.1", receiver.port)))
        refused = wait_for(lambda: receiver.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in refused
        clients.close()
        wait_for(lambda: receiver.ask("GET", "/health").status == 200)
        assert b"otel_usage_receiver_connections_refused_total 1.0" in receiver.ask("GET", "/metrics").body


def test_more_requests_than_are_worked_on(tmp_path):
    """While a large one is worked on those beyond the bound are told to come again; then they are taken."""
    with receiving(tmp_path, "--max-requests", "1") as receiver:
        large = Client(receiver, 100, batch=60_000)
        with large:
            answer = wait_for(lambda: (answer := receiver.post(body_of([1]))).status == 503 and answer)
            assert answer.headers["retry-after"] == "1"
            large.wait_for(0)
        wait_for(lambda: receiver.post(body_of([2])).status == 200)
        assert {2, 100, 60_099} <= set(receiver.rows())


def test_more_than_may_be_held_at_once(tmp_path):
    """Bodies that are half there share a bound: who would pass it is told to come again."""
    with receiving(tmp_path, "--max-body", "1") as receiver, contextlib.ExitStack() as clients:
        for _ in range(4):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", receiver.port)))
            client.sendall(HEAD + b"Content-Length: 1048576\r\n\r\n" + bytes(1_000_000))
        wait_for(lambda: b"http_server_active_requests 5.0" in receiver.ask("GET", "/metrics").body)
        wait_for(lambda: receiver.post(bytes(900_000)).status == 503)
        clients.close()
        wait_for(lambda: receiver.post(body_of([1])).status == 200)
