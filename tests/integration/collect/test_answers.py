"""What a client is answered, on the wire: status, content type and body, as the OTLP specification has them."""

import base64
import gzip
import json
import subprocess

import pytest
from backports import zstd
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.integration.collect.receiving import JSON, PROTOBUF, ask, body_of, receiving, request_of

COMPRESSED = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "identity": bytes,
    "GZIP": gzip.compress,
}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    """A receiver with small bounds."""
    with receiving(
        tmp_path_factory.mktemp("answers"),
        *("--max-body", "1", "--max-decompressed", "2", "--max-attributes", "20", "--max-depth", "3"),
    ) as running:
        yield running


def json_of(numbers, **attributes) -> bytes:
    """The same request in OTLP/JSON: ids are hexadecimal there."""
    told = MessageToDict(request_of(numbers, **attributes))
    for span in told["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId"):
            span[name] = base64.b64decode(span[name]).hex()
    return json.dumps(told).encode()


def status_of(body: bytes) -> tuple[int, str]:
    """Code and message of a google.rpc.Status in protobuf, read by protobuf's own tool where it is one."""
    assert body[0] == 0x08
    assert body[2] == 0x12
    assert body[3] == len(body) - 4
    return body[1], body[4:].decode()


def test_every_encoding_in_both_forms_is_kept(receiver):
    """Protobuf and JSON, plain and compressed, are answered 200 in their own form, and each span is a row."""
    number = 1000
    for content_type, make in ((PROTOBUF, body_of), (JSON, json_of)):
        for encoding, compress in COMPRESSED.items():
            answer = receiver.post(
                compress(make(range(number, number + 3))), f"{content_type}; charset=utf-8", Content_Encoding=encoding
            )
            assert (answer.status, answer.headers["content-type"]) == (200, content_type)
            assert answer.body == (b"" if content_type == PROTOBUF else b"{}")
            number += 3
    assert set(range(1000, number)) <= set(receiver.rows())


def test_a_gzip_body_of_several_members(receiver):
    """A body may be compressed in parts."""
    body = body_of(range(2000, 2010))
    answer = receiver.post(gzip.compress(body[:50]) + gzip.compress(body[50:]), Content_Encoding="gzip")
    assert answer.status == 200
    assert set(range(2000, 2010)) <= set(receiver.rows())


def test_an_empty_request(receiver):
    """A request without spans is a success."""
    assert receiver.post(b"").status == 200
    assert receiver.post(b"{}", JSON).status == 200


REFUSED = {
    "no protobuf": (400, b"xyz", PROTOBUF, {}),
    "no JSON": (400, b"xyz", JSON, {}),
    "no UTF-8": (400, b'{"resourceSpans":"\xff"}', JSON, {}),
    "cut off": (400, body_of([1])[:-5], PROTOBUF, {}),
    "no gzip": (400, b"xyz", PROTOBUF, {"Content_Encoding": "gzip"}),
    "gzip cut off": (400, gzip.compress(body_of([1]))[:-9], PROTOBUF, {"Content_Encoding": "gzip"}),
    "gzip with more behind it": (400, gzip.compress(body_of([1])) + b"xyz", PROTOBUF, {"Content_Encoding": "gzip"}),
    "gzip of nothing": (400, b"", PROTOBUF, {"Content_Encoding": "gzip"}),
    "zstd cut off": (400, zstd.compress(body_of([1]))[:-3], JSON, {"Content_Encoding": "zstd"}),
    "another encoding": (415, b"", PROTOBUF, {"Content_Encoding": "br"}),
    "two encodings": (415, b"", PROTOBUF, {"Content_Encoding": "gzip, gzip"}),
    "another type": (415, b"{}", "text/plain", {}),
    "too large": (413, bytes(1_100_000), PROTOBUF, {}),
    "too large decompressed": (413, gzip.compress(bytes(2_100_000)), JSON, {"Content_Encoding": "gzip"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_never_be_kept(receiver, case):
    """It is refused for good, with a Status in the form of the request that says nothing of what was sent."""
    status, body, content_type, headers = REFUSED[case]
    answer = receiver.post(body, content_type, **headers)
    assert answer.status == status
    assert "retry-after" not in answer.headers
    if content_type == PROTOBUF:
        code, message = status_of(answer.body)
        assert answer.headers["content-type"] == PROTOBUF
    else:
        code, message = json.loads(answer.body)["code"], json.loads(answer.body)["message"]
        assert answer.headers["content-type"] == JSON
    assert code == 3
    assert message
    assert "xyz" not in message


def test_the_answer_says_what_would_be_taken(receiver):
    """405 names the methods, 415 the types and encodings."""
    assert receiver.ask("GET", "/v1/traces").headers["allow"] == "POST"
    assert receiver.ask("PUT", "/v1/traces", b"").status == 405
    assert receiver.post(b"", "text/plain").headers["accept-post"] == f"{PROTOBUF}, {JSON}"
    assert "zstd" in receiver.post(b"", Content_Encoding="br").headers["accept-encoding"]


@pytest.mark.parametrize("target", ["/", "/v1/metrics", "/v1/traces/", "/v1", "//v1/traces"])
def test_no_other_place(receiver, target):
    """Elsewhere is 404: never a redirect, after which a Collector would send nothing."""
    assert receiver.ask("POST", target, b"", Content_Type=JSON).status == 404


def test_spans_that_can_never_be_kept_are_told(receiver):
    """The good ones of a request are kept, the others counted in `partial_success`, in both forms."""
    request = request_of(range(3000, 3010))
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = b"short"
    for number in range(30):
        spans[1].attributes.add(key=f"key.{number}").value.string_value = "x"
    value = spans[2].attributes.add(key="deep").value
    for _ in range(4):
        value = value.array_value.values.add()
    answer = receiver.post(request.SerializeToString())
    told = ExportTraceServiceResponse.FromString(answer.body)
    assert (answer.status, told.partial_success.rejected_spans) == (200, 3)
    assert told.partial_success.error_message
    told = json.loads(receiver.post(json_of(range(3010, 3012)).replace(b"0bc2", b"zzzz"), JSON).body)
    assert told["partialSuccess"]["rejectedSpans"] == "1"
    assert {n for n in receiver.rows() if 3000 <= n < 3100} == set(range(3003, 3012)) - {3010}


def test_spans_that_are_no_requests_are_skipped(receiver):
    """They are acknowledged: nothing is wrong with them."""
    request = request_of(range(4000, 4003))
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.kind = 3  # type: ignore[assignment]  # CLIENT
    assert receiver.post(request.SerializeToString()).body == b""
    assert not {4000, 4001, 4002} & set(receiver.rows())


def test_a_connection_is_used_again(receiver):
    """Good and bad requests follow each other on one connection, also where the body was not read."""
    connection = receiver.connect()
    connection.connect()
    first = connection.sock
    for body, content_type, status in (
        (body_of([5000]), PROTOBUF, 200),
        (bytes(1_100_000), PROTOBUF, 413),
        (b"xyz", JSON, 400),
        (bytes(200_000), "text/plain", 415),
        (body_of([5001]), PROTOBUF, 200),
    ):
        assert ask(connection, "POST", "/v1/traces", body, Content_Type=content_type).status == status
    assert connection.sock is first
    connection.close()


def test_chunked_and_expected_bodies(receiver):
    """Chunked bodies are taken; a body that was announced is asked for, or refused before it is sent."""
    body = body_of([5100])
    head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nConnection: close\r\n".encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    assert receiver.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks).startswith(b"HTTP/1.1 200 OK\r\n")
    expecting = head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
    expecting_much = b"Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
    answer = receiver.raw(expecting, body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    refused = receiver.raw(head.replace(b"close", b"keep-alive") + expecting_much)
    assert refused.startswith(b"HTTP/1.1 413 ")
    assert 5100 in receiver.rows()


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_client_that_would_rather_speak_something_else(receiver, protocol):
    """An upgrade, as Java's own client offers it, is not taken up; what was sent with it is kept."""
    numbers = range(5200, 5210) if protocol == "h2c" else range(5210, 5220)
    body = body_of(numbers)
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n\r\n"
    ).encode()
    last = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert receiver.raw(head + body, head[:90], head[90:] + body[:20], body[20:], last).count(b"HTTP/1.1 200 OK") == 3
    assert set(numbers) <= set(receiver.rows())


def test_health_and_metrics(receiver):
    """Health says that there is room; metrics are those that Prometheus reads."""
    answer = receiver.ask("GET", "/health")
    told = json.loads(answer.body)
    assert (answer.status, told["status"]) == (200, "ok")
    assert told["journal_max_bytes"] == 1 << 30
    assert told["pending_records"] >= 0
    assert receiver.ask("HEAD", "/health").status == 200
    metrics = receiver.ask("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert b'otel_usage_receiver_spans_total{otel_usage_span_outcome="accepted"}' in metrics.body


def test_nothing_is_said_of_what_was_sent(receiver):
    """The log says what is refused, each kind once a minute, and nothing of what was in it."""
    receiver.post(body_of([6000], secret="tok-0123456789abcdefghij")[:-3])
    lines = receiver.log.splitlines()[1:]
    assert any("was answered 400" in line for line in lines), lines
    assert len(lines) == len(set(lines)) == sum("A request was answered 4" in line for line in lines)
    assert "0123456789" not in receiver.log


def test_curl_is_a_client(receiver, tmp_path):
    """A program that nobody here wrote gets through, with a large body, which it announces."""
    (tmp_path / "body").write_bytes(body_of(range(7000, 11000)))
    done = subprocess.run(
        [
            *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Content-Type: {PROTOBUF}"),
            *("--data-binary", f"@{tmp_path / 'body'}", f"http://127.0.0.1:{receiver.port}/v1/traces"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "200", done
    assert set(range(7000, 11000)) <= set(receiver.rows())
