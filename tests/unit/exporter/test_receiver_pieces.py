"""Large bodies in pieces: the same spans come out, and what only looks large is refused before it is made."""

import base64
import json

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.otlp import decoding as otlp
from otel_usage.exporter.otlp import pieces as otlp_pieces
from otel_usage.exporter.otlp.answers import JSON, PROTOBUF
from otel_usage.exporter.otlp.request_body import BodyTooLargeError
from otel_usage.exporter.otlp.wire import fields, length_delimited, varint


def request_of(sizes: list[list[list[int]]]) -> ExportTraceServiceRequest:
    """Resources with scopes with spans, each with an attribute of so many characters."""
    request = ExportTraceServiceRequest()
    number = 0
    for name, scopes in enumerate(sizes):
        of_resource = request.resource_spans.add(schema_url="x")
        of_resource.resource.attributes.add(key="service.name").value.string_value = str(name)
        for scope_name, spans in enumerate(scopes):
            scope = of_resource.scope_spans.add(schema_url="y")
            scope.scope.name = str(scope_name)
            for size in spans:
                number += 1
                span = scope.spans.add(
                    trace_id=number.to_bytes(16), span_id=number.to_bytes(8), kind=2, start_time_unix_nano=number
                )
                span.attributes.add(key="a").value.string_value = "x" * size
    return request


def in_json(request: ExportTraceServiceRequest) -> bytes:
    told = MessageToDict(request)
    for of_resource in told.get("resourceSpans", []):
        for scope in of_resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for name in ("traceId", "spanId"):
                    span[name] = base64.b64decode(span[name]).hex()
    return json.dumps(told).encode()


def flat(scopes):
    return [(scope.otel_resource, scope.scope_name, span) for scope in scopes for span in scope.spans]


@given(st.lists(st.lists(st.lists(st.integers(0, 300), max_size=6), max_size=3), max_size=3))
def test_pieces_say_the_same(sizes):
    """However spans are spread, pieces hold the same ones, in the same order, with the same resource and scope."""
    request = request_of(sizes)
    body = request.SerializeToString()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp_pieces, "PIECE_BYTES", 800)
        expected = flat(otlp.decode_protobuf(body))
        assert flat(otlp_pieces.decoded(body, PROTOBUF)) == expected
        assert flat(otlp_pieces.decoded(in_json(request), JSON)) == expected


@pytest.mark.parametrize("written", [b"\xff", b"\\ud83d"])
def test_text_that_is_no_utf8_loses_no_large_body(written):
    """As in a small one it is kept with replacement characters."""
    body = in_json(request_of([[[800_000, 800_000, 10]]]))
    found = flat(otlp_pieces.decoded(body.replace(b'"x', b'"' + written, 1).replace(b'x"', written + b'"'), JSON))
    assert [span.start_time_ns for _, _, span in found] == [1, 2, 3]
    assert [len(span.attributes["a"]) for _, _, span in found] == [800_000, 800_000, 10]
    assert found[0][2].attributes["a"][:2] == "\ufffdx"
    assert found[2][2].attributes["a"][-2:] == "x\ufffd"


def test_a_span_that_is_larger_than_any_record():
    """A request is told as invalid, another span is none as it would be if it were small; those beside are kept."""
    request = request_of([[[10, 2 << 20, 10, 2 << 20, 2 << 20]]])
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[3].kind = 3  # type: ignore[assignment]  # CLIENT
    spans[4].ClearField("kind")
    for body, media_type in ((request.SerializeToString(), PROTOBUF), (in_json(request), JSON)):
        found = list(otlp_pieces.decoded(body, media_type))
        assert [span.start_time_ns for _, _, span in flat(found)] == [1, 3]
        assert sum(scope.invalid for scope in found) == 1
        assert sum(scope.others for scope in found) == 2


def test_many_scopes_of_a_large_resource():
    """The resource is in as many pieces as the spans fill, not in one for each scope."""
    request = request_of([[[300]] * 5000])
    text = request.resource_spans[0].resource.attributes.add(key="long").value
    text.string_value = "x" * 100_000
    for body, media_type in ((request.SerializeToString(), PROTOBUF), (in_json(request), JSON)):
        pieces = list(CUT[media_type](body))
        assert len(pieces) <= 1 + len(body) // (otlp_pieces.PIECE_BYTES // 2)
        assert len(flat(otlp_pieces.decoded(body, media_type))) == 5000


CUT = {PROTOBUF: otlp_pieces._protobuf_pieces, JSON: otlp_pieces._json_pieces}


def test_nothing_in_json():
    """In a large body null stands for nothing, as in a small one; what is no kind is no OTLP."""
    request = b'{"resourceSpans":[{"scopeSpans":null},{"scopeSpans":[{"spans":null}]}],"x":"%b"}'
    assert flat(otlp_pieces.decoded(request % bytes(b"x" * (1 << 20)), JSON)) == []
    assert list(otlp_pieces.decoded(b'{"resourceSpans":null,"x":"%b"}' % bytes(b"x" * (1 << 20)), JSON)) == []
    span = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":[],"x":"%b"}]}]}]}' % bytes(b"x" * (1 << 20))
    with pytest.raises(OTLPDecodeError):
        list(otlp_pieces.decoded(span, JSON))


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x00" * (1 << 21),
        length_delimited(1, b"\x12\x00" * (1 << 21)),
        length_delimited(1, length_delimited(2, b"\x12\x00" * (1 << 21))),
        length_delimited(1, length_delimited(1, bytes(2 << 20))),
        length_delimited(1, length_delimited(2, b"\x1a\x00" * (1 << 21))),
    ],
    ids=["resources", "scopes", "spans", "a large resource", "unknown fields"],
)
def test_more_messages_than_a_body_explains(body):
    """They are counted before they are made."""
    with pytest.raises(BodyTooLargeError):
        list(otlp_pieces.decoded(body, PROTOBUF))


def test_more_objects_than_a_body_explains():
    """The same in JSON."""
    with pytest.raises(BodyTooLargeError):
        list(otlp_pieces.decoded(b'{"resourceSpans":[%b{}]}' % (b"{}," * (5 << 20)), JSON))


@pytest.mark.parametrize(
    "message",
    [b"\x0a", b"\x0a\x05abc", b"\xff" * 11, b"\x0b", b"\x00\x00", b"\x09abc", b"\x08\xff", b"\x0a\xff\xff\xff\xff\x7f"],
)
def test_bytes_that_are_no_message(message):
    """Each way in which framing can be wrong is an error of the body."""
    with pytest.raises(OTLPDecodeError):
        list(fields(message, 0, len(message)))


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.binary(max_size=300))))
def test_framing_is_read_as_it_is_written(written):
    """Fields come out as they went in."""
    message = b"".join(length_delimited(number, content) for number, content in written)
    assert [(n, message[start:end]) for n, _, start, end in fields(message, 0, len(message))] == written


@given(st.integers(0, (1 << 64) - 1))
def test_numbers_are_read_as_they_are_written(number):
    """A varint of any size is one field."""
    ((n, tag, start, end),) = fields(b"\x08" + varint(number), 0, 1 + len(varint(number)))
    assert (n, tag, start, end) == (1, 0, 1, 1 + len(varint(number)))
