"""OTLP as it is sent and written: protobuf and JSON say the same, and what is none is refused."""

import json
import math

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.otlp import decoding as otlp
from otel_usage.exporter.otlp import protobuf as otlp_protobuf
from otel_usage.exporter.otlp.decoding import SpanData, decode_json, decode_protobuf

TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))


def any_value(value):
    """A Python value as the protocol's."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    return AnyValue()


def pairs(attributes):
    """Attributes as the protocol's."""
    return [KeyValue(key=name, value=any_value(value)) for name, value in attributes.items()]


def make(attributes=None, *, resource=None, scope="scope", kind=Span.SPAN_KIND_SERVER, **fields):
    """A request with one span."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(pairs(resource or {}))
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = scope
    values = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "start_time_unix_nano": 1, "end_time_unix_nano": 2} | fields
    of_scope.spans.add(kind=kind, attributes=pairs(attributes or {}), **values)
    return request


def to_json(request):
    """The request as OTLP/JSON writes it: the protobuf mapping, but ids in hexadecimal and enums as numbers."""
    told = json_format.MessageToDict(request, use_integers_for_enums=True)
    shown = [
        span for of in told.get("resourceSpans", ()) for scope in of["scopeSpans"] for span in scope.get("spans", ())
    ]
    sent = [span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]
    for span, official in zip(shown, sent, strict=True):
        span["traceId"], span["spanId"] = official.trace_id.hex(), official.span_id.hex()
        span["parentSpanId"] = official.parent_span_id.hex()
    return json.dumps(told).encode()


def both(request):
    """What the two decoders make of one request, which must be the same."""
    from_protobuf = decode_protobuf(request.SerializeToString())
    from_json = decode_json(to_json(request))
    assert told(from_protobuf) == told(from_json)
    return from_protobuf


def told(scopes):
    """Everything that decoded spans say; as text, since NaN is not equal to itself."""
    fields = SpanData.__struct_fields__
    spans = [[[getattr(span, name) for name in fields] for span in scope.spans] for scope in scopes]
    others = [(scope.scope_name, scope.others, scope.invalid) for scope in scopes]
    return repr((spans, others, [scope.otel_resource for scope in scopes[:3]]))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    TEXT | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.binary(max_size=8) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXT, VALUES, max_size=8), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1))
@settings(max_examples=200, deadline=None)
def test_protobuf_and_json_say_the_same(attributes, time, flags):
    """Every value arrives as what it was, whichever way it came; an absent value is none."""
    (scope,) = both(make(attributes, start_time_unix_nano=time, end_time_unix_nano=time, flags=flags, name="GET /"))
    (span,) = scope.spans
    told = {name: value for name, value in attributes.items() if value is not None}
    shown = {name: value for name, value in span.attributes.items() if value is not None}
    assert repr(shown) == repr(told)
    assert (span.start_time_ns, span.end_time_ns, span.flags, span.name) == (time, time, flags, "GET /")


def test_ids():
    """Ids are numbers; no parent is none."""
    (scope,) = both(make(parent_span_id=bytes(8)))
    assert (scope.spans[0].trace_id, scope.spans[0].span_id) == (int.from_bytes(TRACE_ID), int.from_bytes(SPAN_ID))
    assert scope.spans[0].parent_span_id is None
    (scope,) = both(make(parent_span_id=b"\0" * 7 + b"\x05"))
    assert scope.spans[0].parent_span_id == 5


def test_ids_of_a_wrong_length():
    """They are counted; a span without ids is still one."""
    (scope,) = both(make(trace_id=b"short"))
    assert (scope.spans, scope.invalid) == ([], 1)
    (scope,) = both(make(span_id=bytes(9)))
    assert (scope.spans, scope.invalid) == ([], 1)
    (scope,) = both(make(trace_id=b"", span_id=b""))
    assert [(span.trace_id, span.span_id) for span in scope.spans] == [(0, 0)]


@pytest.mark.parametrize("kind", [kind for kind in Span.SpanKind.values() if kind != Span.SPAN_KIND_SERVER])
def test_other_kinds_are_counted(kind):
    """Only SERVER spans are requests; the others are looked at no further."""
    (scope,) = both(make({"http.request.method": "GET"}, kind=kind))
    assert (scope.spans, scope.others) == ([], 1)


def test_resource_and_scope():
    """What a span belongs to comes with it."""
    (scope,) = both(make(resource={"service.name": "shop", "n": 1}, scope="tomcat"))
    assert (scope.otel_resource, scope.scope_name) == ({"service.name": "shop", "n": 1}, "tomcat")


@pytest.mark.parametrize(
    ("attributes", "status", "expected"),
    [
        ({}, Status.STATUS_CODE_ERROR, "_OTHER"),
        ({"http.response.status_code": 500}, Status.STATUS_CODE_ERROR, None),
        ({"http.status_code": 500}, Status.STATUS_CODE_ERROR, None),
        ({"error.type": "timeout"}, Status.STATUS_CODE_ERROR, "timeout"),
        ({}, Status.STATUS_CODE_OK, None),
        ({}, Status.STATUS_CODE_UNSET, None),
    ],
)
def test_error_without_a_name(attributes, status, expected):
    """A span that failed without any HTTP status is an error of an unknown type."""
    (scope,) = both(make(attributes, status=Status(code=status, message="secret")))
    assert scope.spans[0].attributes.get("error.type") == expected


def test_recorded_exception_names_the_error():
    """The type of the last exception is the error's, as in a Python application."""
    events = [
        Span.Event(name="exception", attributes=pairs({"exception.type": "First"})),
        Span.Event(name="exception", attributes=pairs({"exception.type": "Last", "exception.message": "secret"})),
        Span.Event(name="log", attributes=pairs({"exception.type": "NotOne"})),
    ]
    (scope,) = both(make({"http.response.status_code": 500}, events=events))
    assert scope.spans[0].attributes["error.type"] == "Last"
    (scope,) = both(make({"error.type": "said"}, events=events))
    assert scope.spans[0].attributes["error.type"] == "said"


def test_text_that_is_no_utf8_loses_no_batch():
    """Collectors pass such text on: it is kept with replacement characters."""
    data = make({"user_agent.original": "b\u00e9b\u00e9", "b\u00e9": "x"}, name="b\u00e9").SerializeToString()
    broken = data.replace("\u00e9".encode(), b"\xff\xfe")
    (scope,) = decode_protobuf(broken)
    replaced = "b\ufffd\ufffd"
    assert scope.spans[0].attributes == {"user_agent.original": replaced + replaced, replaced: "x"}
    assert scope.spans[0].name == replaced


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"b\xff\xfe", "b\ufffd\ufffd"),
        (b"b\\ud83d", "b\ufffd"),
        (b"\\ud83d\\n", "\ufffd\n"),
        (b"\\uDE00b", "\ufffdb"),
        (b"\\ud83d\\ud83d\\ude00\\ude00", "\ufffd\U0001f600\ufffd"),
        (b"\\\\ud83d\xff", "\\ud83d\ufffd"),
        (b"\\\\\\ud83d", "\\\ufffd"),
        (b"\\ud83d\xff", "\ufffd\ufffd"),
    ],
)
def test_text_that_is_no_utf8_loses_no_batch_in_json(written, read):
    """Bytes that a Collector's file exporter writes as they came, and halves of surrogate pairs, as Node cuts text."""
    data = to_json(make({"user_agent.original": "QQ", "other": "\u00e9\U0001f600"}, name="QQ"))
    (scope,) = decode_json(data.replace(b"QQ", written))
    assert scope.spans[0].attributes == {"user_agent.original": read, "other": "\u00e9\U0001f600"}
    assert scope.spans[0].name == read
    with pytest.raises(OTLPDecodeError):
        decode_json(data.replace(b"QQ", written)[:-1])


def test_json_as_others_write_it():
    """Numbers as numbers or text, upper-case ids, enums by name, fields that nobody knows, null."""
    data = {
        "resourceSpans": [
            {
                "resource": None,
                "unknown": {"a": [1]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": TRACE_ID.hex().upper(),
                                "spanId": SPAN_ID.hex().upper(),
                                "kind": "SPAN_KIND_SERVER",
                                "startTimeUnixNano": 7,
                                "endTimeUnixNano": "9",
                                "status": {"code": "STATUS_CODE_ERROR"},
                                "attributes": [
                                    {"key": "a", "value": {"intValue": 1}},
                                    {"key": "b", "value": {"intValue": "-2"}},
                                    {"key": "c", "value": {"doubleValue": "NaN"}},
                                    {"key": "d", "value": {}},
                                    {"key": "e"},
                                    {"key": "f", "value": {"doubleValue": 3}},
                                ],
                            }
                        ]
                    }
                ],
            }
        ]
    }
    (scope,) = decode_json(json.dumps(data).encode())
    span = scope.spans[0]
    assert (span.trace_id, span.start_time_ns, span.end_time_ns) == (int.from_bytes(TRACE_ID), 7, 9)
    assert math.isnan(span.attributes.pop("c"))
    assert span.attributes == {"a": 1, "b": -2, "d": None, "f": 3.0, "error.type": "_OTHER"}


def nested(depth):
    """A request whose attribute is so many lists deep."""
    value = AnyValue(string_value="x")
    for _ in range(depth):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    request = make()
    request.resource_spans[0].scope_spans[0].spans[0].attributes.append(KeyValue(key="deep", value=value))
    return request


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": 2, "startTimeUnixNano": ["soon"]}]}]}]}',
        b'{"resourceSpans": "\xff"}',
        b"[" * 100_000,
        b'{"resourceSpans":' + b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_is_refused(data):
    """The message says nothing of the content."""
    with pytest.raises(OTLPDecodeError) as refused:
        decode_json(data)
    assert "soon" not in str(refused.value)


GOOD = {"kind": 2, "traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex()}


@pytest.mark.parametrize(
    "bad",
    [
        {"traceId": "xyz"},
        {"traceId": "g" * 32},
        {"spanId": "0"},
        {"startTimeUnixNano": "soon"},
        {"flags": "many"},
        {"attributes": [{"key": "a", "value": {"intValue": "one"}}]},
        {"attributes": [{"key": "a", "value": {"doubleValue": "much"}}]},
    ],
)
def test_a_bad_span_does_not_take_the_others_along(bad):
    """It is counted, and those beside it are read."""
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [GOOD, {**GOOD, **bad}, GOOD]}]}]}
    (scope,) = decode_json(json.dumps(request).encode())
    assert (len(scope.spans), scope.invalid) == (2, 1)


def test_null_is_nothing():
    """In protobuf's mapping to JSON null stands for a field that is not set."""
    names = ("parentSpanId", "flags", "name", "startTimeUnixNano", "endTimeUnixNano", "attributes", "events", "status")
    span = {**GOOD, **dict.fromkeys(names)}
    pairs = [
        {"key": "a", "value": None},
        {"key": None, "value": {"stringValue": "x"}},
        {"key": "b", "value": {"arrayValue": None}},
    ]
    lists = [{"key": "c", "value": {"arrayValue": {"values": [None, {"intValue": 1}]}}}]
    request = {
        "resourceSpans": [
            {"resource": {"attributes": None}, "scopeSpans": None},
            {
                "scopeSpans": [
                    {"scope": {"name": None}, "spans": None},
                    {"spans": [span, {**span, "attributes": pairs + lists}]},
                ]
            },
        ]
    }
    scopes = decode_json(json.dumps(request).encode())
    assert [len(scope.spans) for scope in scopes] == [0, 2]
    assert scopes[1].spans[1].attributes == {"": "x", "b": None, "c": [None, 1]}


def test_the_depth_of_a_value():
    """A span with a value that is nested too deeply can never be kept; those beside it can."""
    for depth, invalid in ((otlp.MAX_DEPTH, 0), (otlp.MAX_DEPTH + 1, 1)):
        request = nested(depth)
        scope = request.resource_spans[0].scope_spans[0]
        scope.spans.append(make().resource_spans[0].scope_spans[0].spans[0])
        (found,) = both(request)
        assert (len(found.spans), found.invalid) == (2 - invalid, invalid)


def test_an_otel_resource_that_is_nested_too_deeply():
    """No span is lost for it, and what can be read of it is."""
    request = make(resource={"service.name": "shop"})
    deep = nested(otlp.MAX_DEPTH + 1).resource_spans[0].scope_spans[0].spans[0].attributes[0]
    request.resource_spans[0].resource.attributes.insert(0, deep)
    (found,) = both(request)
    assert (found.otel_resource, len(found.spans)) == ({"service.name": "shop"}, 1)


def test_long_names():
    """They are cut: names are remembered, and must stay small."""
    (found,) = both(make({"n" * 1000: "x" * 1000}))
    assert found.spans[0].attributes == {"n" * otlp.MAX_NAME_LENGTH: "x" * 1000}


def test_large_otel_resources_are_not_remembered():
    """One sender may have as many of them as it likes."""
    before = len(otlp_protobuf._resources)
    for number in range(20):
        decode_protobuf(
            make(resource={"service.name": f"s{number}", "process.command_line": "x" * 9000}).SerializeToString()
        )
    assert len(otlp_protobuf._resources) == before


def test_endless_nesting():
    """What no parser follows is refused, in both forms, without harm."""
    deep = b'{"arrayValue":{"values":[' * 3000 + b'{"stringValue":"x"}' + b"]}}" * 3000
    whole = to_json(make({"deep": "here"})).replace(b'{"stringValue": "here"}', deep)
    with pytest.raises(OTLPDecodeError):
        decode_json(whole)
    value = b"\x0a\x01x"
    for _ in range(3000):
        inner = b"\x0a" + varint(len(value)) + value
        value = b"\x2a" + varint(len(inner)) + inner
    pair = b"\x0a\x01d\x12" + varint(len(value)) + value
    request = make()
    span = request.resource_spans[0].scope_spans[0].spans[0].SerializeToString() + b"\x4a" + varint(len(pair)) + pair
    scope = b"\x12" + varint(len(span)) + span
    of_resource = b"\x12" + varint(len(scope)) + scope
    with pytest.raises(OTLPDecodeError):
        decode_protobuf(b"\x0a" + varint(len(of_resource)) + of_resource)


def varint(number):
    """A number as protobuf writes it."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data):
    """Whatever comes is decoded or refused, nothing else."""
    for decode in (decode_protobuf, decode_json):
        try:
            decode(data)
        except OTLPDecodeError:
            continue


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_mutated_requests(data):
    """So is a request of which some bytes have changed, or the end is missing."""
    whole = make({"http.request.method": "GET", "list": ["a", {"b": 1}], "n": 1 << 40}, resource={"service.name": "s"})
    for encoded, decode in ((whole.SerializeToString(), decode_protobuf), (to_json(whole), decode_json)):
        changed = bytearray(encoded)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(changed[: data.draw(st.integers(0, len(changed)))]))
        except OTLPDecodeError:
            continue


def test_what_is_remembered(monkeypatch):
    """Attributes that come again are remembered, within a bound; what may be a credential never is."""
    monkeypatch.setattr(otlp_protobuf, "_known", known := otlp_protobuf._Known())
    monkeypatch.setattr(otlp_protobuf, "_MAX_KNOWN", 3)
    secret = {
        "http.request.header.authorization": "Bearer raw",
        "http.request.header.x-api-key": "raw",
        "url.query": "token=raw",
        "url.path": "/reset/raw",
        "http.target": "/?token=raw",
        "url.full": "http://h/?token=raw",
        "password": "raw",
    }
    decode_protobuf(
        make({**secret, "http.request.method": "GET", "long": "x" * 500, "list": ["a"]}).SerializeToString()
    )
    assert list(known.values()) == [("http.request.method", "GET")]
    for number in range(10):
        decode_protobuf(make({"n": number}).SerializeToString())
        assert len(known) <= 3


def test_missing_extra(monkeypatch):
    """Without protobuf the exact pip line is told."""
    import sys

    monkeypatch.setitem(sys.modules, "otel_usage.exporter.otlp.protobuf", None)
    monkeypatch.delattr(sys.modules["otel_usage.exporter.otlp"], "protobuf", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'otel-usage\[otlp\]'"):
        otlp.decode_protobuf(b"")


@given(
    TEXT,
    TEXT | st.integers().filter(lambda n: -(1 << 63) <= n < 1 << 63) | st.booleans(),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=500, deadline=None)
def test_the_short_way_reads_what_protobuf_reads(name, value, changes):
    """An attribute that is read by its lengths alone says what the library reads, damaged or not."""
    data = bytearray(KeyValue(key=name, value=any_value(value)).SerializeToString())
    for position, byte in changes:
        if position < len(data):
            data[position] = byte
    try:
        expected = otlp_protobuf._parsed_pair(bytes(data))
    except DecodeError:
        with pytest.raises(DecodeError):
            otlp_protobuf._pair(bytes(data))
    else:
        assert otlp_protobuf._pair(bytes(data)) == expected


def test_many_scopes_of_one_large_otel_resource():
    """The OTel resource is read once, not once for each of its scopes."""
    request = make(resource={f"a{number}": "x" * 100 for number in range(2000)})
    for _ in range(2000):
        request.resource_spans[0].scope_spans.add()
    assert len(both(request)) == 2001
