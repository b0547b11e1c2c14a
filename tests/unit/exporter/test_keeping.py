"""Keeper: what is left out and counted on the way to the journal."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from otel_usage.exporter.keeping import Keeper, RequestSpan
from otel_usage.exporter.recorder import Recorder
from otel_usage.settings import load
from tests.unit.exporter.support import query


@pytest.fixture
def recorder_and_settings(tmp_path):
    """A recorder of an empty folder that keeps no anonymous requests."""
    settings = load({"OTEL_USAGE_ANONYMOUS": "false"}, strict=True, database=tmp_path / "usage.duckdb")
    return Recorder(settings), settings


def keep(recorder, settings, *requests):
    """Keep requests with these attributes and commit them."""
    keeper = Keeper(settings, recorder)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    for attributes in requests:
        span = tracer.start_span("GET", kind=SpanKind.SERVER)
        span.end()
        keeper.keep(RequestSpan(span, span.end_time, _named(attributes), ()))
    recorder.shutdown()


def _named(attributes):
    """With the method of a request unless it is said to have none."""
    full = {"http.request.method": "GET", **attributes}
    return {name: value for name, value in full.items() if value is not None}


def test_anonymous_requests_are_left_out_and_counted(tmp_path, recorder_and_settings):
    """With OTEL_USAGE_ANONYMOUS=false what has a token, a user or only a user's name stays; the rest is a count."""
    keep(
        *recorder_and_settings,
        {},
        {"usage.token.scheme": "bearer", "usage.token.id": "tok_0"},
        {"user.id": "7"},
        {"user.name": "Grace"},
        {"url.path": "/"},
        {"http.request.method": None, "rpc.system": "grpc"},
    )
    assert query(tmp_path, "SELECT count(*) FROM requests") == [(3,)]
    left_out = "SELECT records, segment_id FROM losses WHERE reason = 'anonymous_left_out'"
    assert query(tmp_path, left_out) == [(2, None)]


def test_notes_of_one_day_are_one_row(tmp_path, recorder_and_settings):
    """What goes on for ever is one row a reason and day, however many segments tell of it."""
    recorder, settings = recorder_and_settings
    for _ in range(3):
        keep(Recorder(settings), settings, {}, {"user.id": "7"})
    assert query(tmp_path, "SELECT reason, records FROM losses") == [("anonymous_left_out", 3)]
    recorder.shutdown()
