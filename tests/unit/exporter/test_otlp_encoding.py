"""Records as OTLP spans: nothing of a record is lost or changed on the way to whoever receives it."""

import json
import string

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_usage.enrichment.privacy import is_sensitive_key
from otel_usage.exporter.otlp.decoding import decode_json, decode_protobuf
from otel_usage.exporter.otlp.encoding import NUMBERS, SERVICE, TEXTS, request_of, service_of, span_of
from otel_usage.exporter.record import KEY, MAX_VALUE_BYTES, UsageRecord, from_span
from otel_usage.exporter.record import service_of as service_of_resource
from tests.unit.exporter.support import FIRST_MICROSECOND, record

INT64 = (1 << 63) - 1
# What names say of themselves is the enrichment's; here any text goes. Controls and quotes included.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
WORD = st.text(string.ascii_letters + string.digits + "-_.äλ語", min_size=1, max_size=40)
LONG = WORD.map(lambda word: (word * MAX_VALUE_BYTES).encode()[:MAX_VALUE_BYTES].decode(errors="ignore"))
NAME = WORD.map(lambda word: f"app.{word}").filter(lambda name: not is_sensitive_key(name))
# Those that are read as more than text: each value is one that `from_span` gives, so that reading it again is too.
OF_SERVICE = ("service_name", "service_namespace", "service_version", "service_instance_id", "environment")
READ: dict[str, st.SearchStrategy[object]] = {
    "start_time": st.integers(0, ((1 << 64) - 1 - INT64) // 1000),
    "duration_ns": st.integers(0, INT64),
    "trace_id": st.integers(0, (1 << 128) - 1).map(lambda number: f"{number:032x}"),
    "span_id": st.integers(0, (1 << 64) - 1),
    "parent_span_id": st.none() | st.integers(1, (1 << 64) - 1),
    "status_code": st.none() | st.integers(0, 32767),
    "request_bytes": st.none() | st.integers(0, INT64),
    "response_bytes": st.none() | st.integers(0, INT64),
    "sampled": st.none() | st.booleans(),
    # What stands in every record of a service is short, and a path is cleaned of what its sender would not have sent.
    **dict.fromkeys(OF_SERVICE, st.none() | TEXT.map(lambda text: text[:256])),
    **dict.fromkeys(
        ("path", "route"), st.none() | (TEXT | LONG).map(lambda text: text.replace("@", "").replace("=", "") or "/")
    ),
    "method": TEXT,
    "host": st.none() | WORD,
    "query": st.none() | WORD.map(lambda word: f"page={word}"),
    "client_address": st.none() | st.sampled_from(["192.0.2.0", "2001:db8:1::"]),
    "country": st.none() | st.sampled_from(["DE", "NO"]),
    "user_agent": st.none() | st.text(string.printable, min_size=1, max_size=40) | LONG,
    "referrer": st.none() | WORD.map(lambda word: f"https://example.org/{word}"),
    "attributes": st.none() | st.dictionaries(NAME, WORD | LONG, min_size=1, max_size=5),
}
RECORDS = st.fixed_dictionaries(
    {name: READ.get(name, st.none() | TEXT | LONG) for name in UsageRecord.__struct_fields__}
).map(lambda columns: UsageRecord(**columns))


def sent(*records: UsageRecord) -> bytes:
    return request_of([(service_of(each), span_of(each)) for each in records])


def received(data: bytes, privacy_level: int = 1) -> list[UsageRecord | None]:
    return [
        from_span(
            span,
            span.attributes,
            service_of_resource(scope.otel_resource),
            privacy_level=privacy_level,
            count=lambda reason, n=1: pytest.fail(f"{reason} {n}"),
        )
        for scope in decode_protobuf(data)
        for span in scope.spans
    ]


@settings(max_examples=300)
@given(RECORDS)
def test_what_is_sent_is_received(given_record):
    """A record that was sent and received is the same, in every column."""
    assert received(sent(given_record)) == [given_record]


def test_every_column_is_sent():
    """Each column is an attribute of the span or of its OTel resource, or one of the span's own fields."""
    own = {*KEY, "parent_span_id", "method", "sampled", "attributes"}
    assert {*own, *TEXTS, *NUMBERS, *SERVICE} == set(UsageRecord.__struct_fields__)


@pytest.mark.parametrize("name", UsageRecord.__struct_fields__)
def test_every_column_arrives(name):
    """A column that has a value arrives with it, whatever the others have."""
    values = {"attributes": {"app.tenant": "t-1"}, "sampled": False, "query": "page=2", "client_address": "192.0.2.0"}
    numbers = ("parent_span_id", "status_code", "request_bytes", "response_bytes")
    value = values.get(name, 404 if name in numbers else "something")
    one = record(7) if name in (*KEY, "method", "path") else record(7, **{name: value})
    assert received(sent(one)) == [one]


def test_services_stay_apart():
    """Records of several services in one request keep their service, and come in one scope of ours for each."""
    first, second, third = record(1, service_name="a"), record(2, service_name="b"), record(3, service_name="a")
    data = sent(first, second, third)
    assert sorted(received(data), key=lambda each: each.span_id) == [first, second, third]
    assert [scope.scope_name for scope in decode_protobuf(data)] == ["otel_usage", "otel_usage"]


@pytest.mark.parametrize(
    ("start_time", "duration_ns"), [(-1, 0), (-62_135_596_800_000_000, 5), (253_402_300_799_999_999, INT64)]
)
def test_times_that_otlp_does_not_know(start_time, duration_ns):
    """They become the nearest that it knows: the rest of the record arrives."""
    (arrived,) = received(sent(record(1, start_time=start_time, duration_ns=duration_ns)))
    assert arrived is not None
    assert (arrived.path, arrived.status_code) == ("/datasets/1", 200)
    assert 0 <= arrived.start_time <= 18_446_744_073_709_551


def test_a_record_without_a_method_is_a_request():
    """Whoever receives a span without a method takes it for no request."""
    (arrived,) = received(sent(record(1, method=None)))
    assert arrived is not None
    assert arrived.method == "_OTHER"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, Status.STATUS_CODE_UNSET),
        ({"status_code": 404, "error_type": "NotFound"}, Status.STATUS_CODE_UNSET),
        ({"status_code": 503}, Status.STATUS_CODE_ERROR),
        ({"status_code": None, "error_type": "ClientDisconnected"}, Status.STATUS_CODE_ERROR),
    ],
)
def test_the_span_is_one_of_a_server(fields, code):
    """Kind, name, flags and status are those of the semantic conventions, for whoever looks at spans."""
    span = span_of(record(1, route="/datasets/{id}", sampled=True, **fields))
    assert (span.kind, span.name, span.flags) == (Span.SPAN_KIND_SERVER, "GET /datasets/{id}", 1)
    assert span.status.code == code
    assert span.start_time_unix_nano == (FIRST_MICROSECOND + 1000) * 1000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000


def test_an_empty_request():
    """It says nothing, and is what every receiver takes."""
    assert request_of([]) == b""
    assert decode_protobuf(b"") == []


def test_both_forms_say_the_same():
    """What a Collector makes of it in JSON is read as the same record."""
    one = record(1, service_name="a", attributes={"app.tenant": "t-1"}, sampled=True, route="/datasets/{id}")
    message = ExportTraceServiceRequest.FromString(sent(one))
    found = MessageToDict(message)
    (span,) = found["resourceSpans"][0]["scopeSpans"][0]["spans"]
    # OTLP/JSON writes ids in hexadecimal and kinds as numbers, unlike protobuf's own mapping.
    span.update(traceId=one.trace_id, spanId=f"{one.span_id:016x}", kind=2)
    (scope,) = decode_json(json.dumps(found).encode())
    (read,) = scope.spans
    arrived = from_span(
        read, read.attributes, service_of_resource(scope.otel_resource), privacy_level=1, count=lambda *_: None
    )
    assert arrived == one
