"""Bodies at random, and real ones with something changed: never 500, and what was taken is in the store once."""

import base64
import contextlib
import gzip
import json
import re
import socket
from pathlib import Path

import duckdb
import pytest
from backports import zstd
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.collect.receiving import JSON, PROTOBUF, ask, body_of, receiving

RECORDED = sorted((Path(__file__).parents[2] / "data" / "recorded").glob("*.jsonl"))
IN_JSON = [path.read_bytes().splitlines()[0] for path in RECORDED]
EXAMPLES = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def in_protobuf(line: bytes) -> bytes:
    """The same request in protobuf, whose own JSON has ids in base64."""
    in_base64 = re.sub(rb'"((?:trace|span|parentSpan)Id)":"([0-9a-f]+)"', _base64, line)
    return ParseDict(json.loads(in_base64), ExportTraceServiceRequest()).SerializeToString()


def _base64(found: "re.Match[bytes]") -> bytes:
    return b'"%b":"%b"' % (found[1], base64.b64encode(bytes.fromhex(found[2].decode())))


REAL = [*((JSON, line) for line in IN_JSON), *((PROTOBUF, in_protobuf(line)) for line in IN_JSON)]
COMPRESS = {"identity": bytes, "gzip": lambda body: gzip.compress(body, 1), "zstd": zstd.compress}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    """A receiver; afterwards it lives, and its rows are what it says that it has taken."""
    with receiving(tmp_path_factory.mktemp("fuzz"), "--timeout", "5") as running:
        yield running
        assert running.post(body_of([1])).status == 200
        running.rows()
        accepted = re.search(
            rb'spans_total\{otel_usage_span_outcome="accepted"\} (\S+)', running.ask("GET", "/metrics").body
        )
        assert accepted is not None
        assert "Traceback" not in running.log
        assert all("was answered 4" in line for line in running.log.splitlines()[1:]), running.log
        assert running.peak_mebibytes() < 400
        running.stop()
        with duckdb.connect(str(running.store), read_only=True) as connection:
            names = "('lines', 'inserted', 'duplicate', 'rejected')"
            query = f"SELECT name, value::BIGINT FROM store_info WHERE name IN {names}"
            totals = dict(connection.execute(query).fetchall())
            (rows,) = connection.execute("SELECT count(*) FROM requests").fetchone() or (0,)
        assert totals["lines"] == float(accepted[1]) > 0
        assert totals["lines"] == totals["inserted"] + totals["duplicate"]
        assert totals["rejected"] == 0
        assert rows == totals["inserted"]


@pytest.fixture(scope="module")
def connection(receiver):
    """A connection that is used for everything."""
    with contextlib.closing(receiver.connect()) as opened:
        yield opened


def taken(connection, body: bytes, content_type: str, encoding: str) -> int:
    """What such a body is answered, which must be one of the few answers there are."""
    answer = ask(connection, "POST", "/v1/traces", body, Content_Type=content_type, Content_Encoding=encoding)
    assert answer.status in (200, 400, 413), answer
    assert answer.headers["content-type"] == content_type
    if answer.status != 200 and content_type == JSON:
        assert set(json.loads(answer.body)) == {"code", "message"}
    return answer.status


@pytest.mark.parametrize("case", range(len(REAL)))
def test_real_requests_are_taken(connection, case):
    """What is to be changed is good as it stands."""
    content_type, body = REAL[case]
    assert taken(connection, body, content_type, "identity") == 200


@EXAMPLES
@given(st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(list(COMPRESS)))
def test_bytes_at_random(connection, body, content_type, encoding):
    """Bytes that mean nothing, or that are compressed without being so."""
    taken(connection, body, content_type, encoding)


changes = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat", "cut"]),
        st.floats(0, 1),
        st.integers(1, 40),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def changed(body: bytes, all_changes) -> bytes:
    """The body with some of its bytes replaced, added, removed, repeated or cut off."""
    for what, where, length, given_bytes in all_changes:
        position = int(where * len(body))
        end = position + length
        match what:
            case "replace":
                body = body[:position] + given_bytes + body[position + len(given_bytes) :]
            case "insert":
                body = body[:position] + given_bytes + body[position:]
            case "delete":
                body = body[:position] + body[end:]
            case "repeat":
                body = body[:end] + body[position:end] * 3 + body[end:]
            case "cut":
                body = body[: max(position, 1)]
    return body


@EXAMPLES
@given(st.sampled_from(REAL), changes, st.sampled_from(list(COMPRESS)), st.booleans())
def test_real_requests_with_something_changed(connection, real, all_changes, encoding, compressed_first):
    """Changed before it is compressed, or after."""
    content_type, body = real
    compress = COMPRESS[encoding]
    sent = changed(compress(body), all_changes) if compressed_first else compress(changed(body, all_changes))
    taken(connection, sent, content_type, encoding)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@EXAMPLES
@given(st.sampled_from(IN_JSON), st.floats(0, 1), json_values)
def test_real_json_with_another_value(connection, line, where, value):
    """Any member of a real request may have any value at all."""
    members = list(re.finditer(rb'"\w+":("[^"]*"|\d+|\[\]|\{\})', line))
    member = members[min(int(where * len(members)), len(members) - 1)]
    body = line[: member.start(1)] + json.dumps(value).encode() + line[member.end(1) :]
    taken(connection, body, JSON, "identity")


@EXAMPLES
@given(
    st.sampled_from([b"", b"POST /v1/traces HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\n"]),
    st.binary(max_size=200),
)
def test_connections_at_random(receiver, begin, more):
    """Whatever comes over a connection, no answer says that the receiver failed."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as client:
        answer = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(begin + more)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                answer += piece
    assert not re.search(rb"HTTP/1.1 5", answer), answer
