"""UsageRecord: what each generation and each language of span attributes says in its columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.exporter import record as record_module
from otel_usage.exporter.record import (
    JOURNAL_COLUMNS,
    Service,
    SpanFacts,
    UsageRecord,
    from_span,
    service_of,
)

SPAN = SpanFacts(
    trace_id=0xABC,
    span_id=7,
    parent_span_id=None,
    start_time_ns=1_700_000_000_123_456_789,
    end_time_ns=1_700_000_000_123_999_999,
)
SERVICE = Service("portal", None, None, None, "test")

STABLE = {
    "http.request.method": "GET",
    "url.path": "/datasets/7",
    "url.query": "q=a&api_key=SECRET-SECRET",
    "url.scheme": "https",
    "http.route": "/datasets/{id}",
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
    "server.address": "portal.example:8443",
    "client.address": "192.0.2.77",
    "user_agent.original": "curl/8",
    "http.response.body.size": 12,
}
OLD = {
    "http.method": "GET",
    "http.target": "/datasets/7?q=a&api_key=SECRET-SECRET",
    "http.scheme": "https",
    "http.route": "/datasets/{id}",
    "http.status_code": 200,
    "http.flavor": "1.1",
    "http.host": "portal.example:8443",
    "net.peer.ip": "192.0.2.77",
    "http.user_agent": "curl/8",
    "http.response_content_length": 12,
}
OLD_URL = {
    **{k: v for k, v in OLD.items() if k != "http.target"},
    "http.url": "https://u:p@portal.example/datasets/7?q=a&api_key=SECRET-SECRET",
}


def record(attributes, *, privacy_level=1, span=SPAN, counted=None):
    """The record of these attributes; reasons of `losses` go to `counted`."""
    count = (counted if counted is not None else []).append
    return from_span(span, attributes, SERVICE, privacy_level=privacy_level, count=count)


@pytest.mark.parametrize("attributes", [STABLE, OLD, OLD_URL], ids=["stable", "old", "old-url"])
def test_both_generations_of_names_make_the_same_row(attributes):
    """The columns are the same whichever names an instrumentation writes."""
    row = record(attributes)
    told = (row.method, row.path, row.query, row.scheme, row.route, row.status_code, row.protocol_version)
    assert told == ("GET", "/datasets/7", "q=a&api_key=REDACTED", "https", "/datasets/{id}", 200, "1.1")
    assert (row.host, row.client_address, row.user_agent) == ("portal.example", "192.0.2.0", "curl/8")
    assert row.response_bytes == 12
    assert row.attributes is None


def test_time_is_the_floor_of_microseconds():
    """Nanoseconds are cut, never rounded, and the duration keeps them."""
    row = record(STABLE)
    assert row.start_time == 1_700_000_000_123_456
    assert row.duration_ns == 543_210
    assert record(STABLE, span=SpanFacts(1, 1, None, -1, 0)).start_time == -1


def test_a_span_without_a_method_is_no_request():
    """gRPC servers and consumers make SERVER spans that are no HTTP requests."""
    assert record({"rpc.system": "grpc"}) is None


@pytest.mark.parametrize(
    ("value", "expected", "counted"),
    [
        (200, 200, []),
        ("200", 200, []),
        (70000, 32767, ["number_clamped"]),
        (-1, 0, ["number_clamped"]),
        (2**70, 32767, ["number_clamped"]),
        ("none", None, []),
        (True, None, []),
        (float("inf"), None, []),
    ],
)
def test_status_fits_its_column(value, expected, counted):
    """A status out of the column's range is clamped and counted; what is no number is NULL."""
    reasons = []
    assert record({**STABLE, "http.response.status_code": value}, counted=reasons).status_code == expected
    assert reasons == counted


@pytest.mark.parametrize(("value", "expected"), [(-1, None), (0, 0), ("17", 17), (2**64, 2**63 - 1)])
def test_sizes(value, expected):
    """-1 is how proxies write unknown; a size never exceeds its column."""
    assert record({**STABLE, "http.response.body.size": value}).response_bytes == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("portal.example", "portal.example"),
        ("portal.example:80", "portal.example"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("", None),
    ],
)
def test_host_has_no_port(value, expected):
    """`server.address` may hold the port."""
    assert record({**STABLE, "server.address": value}).host == expected


@pytest.mark.parametrize(("level", "expected"), [(0, "192.0.2.77"), (1, "192.0.2.0"), (2, None)])
def test_privacy_levels(level, expected):
    """The client address is whole, cut, or absent, and nowhere else in the row."""
    attributes = {**STABLE, "geo.country.iso_code": "CH", "http.request.header.x_forwarded_for": ["192.0.2.77"]}
    row = record(attributes, privacy_level=level)
    assert row.client_address == expected
    assert row.country == (None if level == 2 else "CH")
    if level:
        assert "192.0.2.77" not in str(row)


def test_what_is_left_is_kept_as_text():
    """Attributes that no column tells are kept, arrays as JSON, each as text."""
    row = record({**STABLE, "app.tenant": "north", "app.retries": 3, "app.beta": True, "app.tags": ["a", "b"]})
    assert row.attributes == {"app.tenant": "north", "app.retries": "3", "app.beta": "true", "app.tags": '["a", "b"]'}


def test_captured_credentials_are_not_kept():
    """Captured credential headers and cookies are left out, and queries inside other values are redacted."""
    row = record(
        {
            **STABLE,
            "http.request.header.authorization": ["Bearer SECRET-SECRET"],
            "http.request.header.x_api_key": ["SECRET-SECRET"],
            "http.request.header.cookie": ["session=SECRET-SECRET"],
            "http.response.header.location": ["https://portal.example/?access_token=SECRET-SECRET"],
            "http.request.header.referer": ["https://portal.example/?token=SECRET-SECRET"],
        }
    )
    assert "SECRET" not in str(row)
    assert row.referrer == "https://portal.example/?token=REDACTED"


def test_original_method():
    """A method that the conventions do not know is told as it was sent."""
    row = record({**STABLE, "http.request.method": "_OTHER", "http.request.method_original": "PURGE"})
    assert row.method == "PURGE"


def test_service_columns():
    """The OTel resource fills the service columns, under both names of the environment."""
    service = service_of({"service.name": "portal", "service.version": "1", "deployment.environment": "prod"})
    assert service == Service("portal", None, "1", None, "prod")


def test_journal_columns_are_the_record():
    """Every field has a journal type, and required ones are not NULL."""
    assert list(JOURNAL_COLUMNS) == list(UsageRecord.__struct_fields__)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text(), max_size=3)
)


@given(st.dictionaries(st.sampled_from([*STABLE, *OLD, "user.id", "usage.token.id", "error.type", "app.x"]), VALUES))
def test_any_values_make_a_row_or_none(attributes):
    """Whatever the values are, a row comes out whose text columns are text and whose numbers fit."""
    row = record({"http.request.method": "GET", **attributes})
    if row is None:
        return
    for name, kind in JOURNAL_COLUMNS.items():
        value = getattr(row, name)
        if value is None:
            continue
        if kind in ("VARCHAR", "UUID"):
            assert isinstance(value, str)
        elif kind == "BIGINT":
            assert -(2**63) <= value < 2**63
        elif kind == "SMALLINT":
            assert 0 <= value <= 32767


def test_header_text_is_as_it_was_sent():
    """WSGI servers decode UTF-8 as Latin-1 (PEP 3333); what is no UTF-8 stays."""
    sent = "Ünï/1".encode().decode("latin-1")
    assert record({**STABLE, "user_agent.original": sent}).user_agent == "Ünï/1"
    assert record({**STABLE, "user_agent.original": "Ü"}).user_agent == "Ü"


def test_the_same_names_with_other_values():
    """What the names of attributes say is worked out once; each request has its own values of whatever type."""
    values = ["a", ["a", "b"], 7, "", None, True, "a"]
    users = [record({**STABLE, "user.id": value, "enduser.id": "e"}).user_id for value in values]
    assert users == ["a", '["a", "b"]', "7", None, "e", "true", "a"]
    left = [(record({**STABLE, "app": value}).attributes or {}).get("app") for value in values]
    assert left == ["a", '["a", "b"]', "7", None, None, "true", "a"]


@pytest.mark.parametrize("names", [("http.host",), ("server.address", "http.host"), ("http.server_name", "http.host")])
def test_the_newest_name_wins_whatever_the_order(names):
    """The order in which attributes were set says nothing."""
    row = record({**{name: name for name in names}, "http.method": "GET"})
    assert row.host == min(names, key=["server.address", "http.host", "http.server_name"].index)


def test_one_attribute():
    """A span with nothing but a method is a request."""
    assert record({"http.method": "GET"}).method == "GET"
    assert record({}) is None


def test_the_privacy_level_is_not_another_ones():
    """What the names say is worked out for each level."""
    attributes = {**STABLE, "http.request.header.x_real_ip": "192.0.2.77"}
    kept = [record(attributes, privacy_level=level).attributes for level in (0, 1, 0)]
    assert kept == [
        {"http.request.header.x_real_ip": "192.0.2.77"},
        None,
        {"http.request.header.x_real_ip": "192.0.2.77"},
    ]


@given(
    st.dictionaries(
        st.sampled_from(
            [*STABLE, *OLD_URL, "http.referer", "geo.country.iso_code", "http.request.method_original", "n"]
        ),
        st.none()
        | st.text()
        | st.integers()
        | st.booleans()
        | st.sampled_from([*STABLE.values(), "u@h:1", "[::1]:80"]),
    ),
    st.permutations([0, 1, 2]),
)
def test_what_is_remembered_of_names(attributes, levels):
    """Which attributes fill which columns is remembered for each privacy level: it says what a first look says."""
    attributes = {"http.request.method": "GET", **attributes}
    remembered = [record(attributes, privacy_level=level) for level in levels]
    for level, known in zip(levels, remembered, strict=True):
        record_module._plan.cache_clear()
        assert record(attributes, privacy_level=level) == known


def test_the_span_and_its_service_tell_the_first_columns():
    """They are filled by position: each stands under its own name."""
    span = SpanFacts(trace_id=1, span_id=2, parent_span_id=3, start_time_ns=4_000, end_time_ns=9_000)
    service = Service("name", "namespace", "version", "instance", "environment")
    told = from_span(span, {"http.request.method": "GET"}, service, privacy_level=1, count=lambda _: None)
    assert told == UsageRecord(
        start_time=4,
        duration_ns=5_000,
        trace_id=f"{1:032x}",
        span_id=2,
        parent_span_id=3,
        service_name="name",
        service_namespace="namespace",
        service_version="version",
        service_instance_id="instance",
        environment="environment",
        method="GET",
    )
