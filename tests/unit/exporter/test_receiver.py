"""The receiver's parts by themselves; the whole of it is in tests/integration/collect."""

import asyncio
import gzip
import logging
import re
import subprocess
import sys
import textwrap
import threading
from http import HTTPStatus

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_usage.errors import ConfigurationError, JournalUnavailableError, OTLPDecodeError
from otel_usage.exporter.otlp import answers as otlp_answers
from otel_usage.exporter.otlp.answers import JSON, PROTOBUF
from otel_usage.exporter.otlp.decoding import ScopeSpans, SpanData
from otel_usage.exporter.otlp.intake import Taken, TooMuchError
from otel_usage.exporter.otlp.request_body import BodyTooLargeError, decompress
from otel_usage.exporter.receiver import bearer, listening, prometheus
from otel_usage.exporter.receiver import metrics as receiver_metrics
from otel_usage.exporter.receiver import telemetry as receiver_telemetry
from otel_usage.exporter.receiver.application import Receiver
from otel_usage.exporter.receiver.health import Health
from otel_usage.exporter.receiver.intake import ReceiverIntake
from otel_usage.exporter.receiver.limits import Limits, within
from otel_usage.exporter.receiver.metrics import ReceiverMetrics
from otel_usage.exporter.receiver.numbers import Numbers
from tests.unit.exporter.support import settings_of


class FailingIntake:
    """An intake that cannot take anything."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def take(self, scopes, is_awaited):
        for _ in scopes:
            pass
        raise self.error


def asked(tmp_path, intake, *, headers=(), body=b"", content_type=JSON, receive=None, answered=lambda: None):
    """Status, headers and body of the answer to one request, 0 for none, after which `answered` is called."""
    return asyncio.run(_ask(tmp_path, intake, headers, body, content_type, receive, answered))


async def _ask(tmp_path, intake, headers, body, content_type, receive, answered):
    numbers = Numbers(1, receiver_metrics.COLUMNS)
    taking = ReceiverIntake(intake, Limits())
    receiver = Receiver(taking, lambda: (), Health(settings_of(tmp_path)), ReceiverMetrics(numbers))
    sent = []
    bodies = [body]

    async def receive_body():
        while not bodies:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/traces",
        "raw_path": b"/v1/traces",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode()), *headers],
        "server": ("127.0.0.1", 4318),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
    }
    try:
        await receiver(scope, receive or receive_body, send)
        answered()
    finally:
        taking.close()
    if not sent:
        return 0, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


UNEXPECTED = (
    RuntimeError("Bearer secret"),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"secret", 0, 1, "x"),
    OSError(),
)


@pytest.mark.parametrize("error", UNEXPECTED, ids=lambda error: type(error).__name__)
def test_the_unexpected_is_503(tmp_path, caplog, error):
    """Whatever goes wrong may pass; the log says what and where, and nothing of what was sent."""
    status, headers, body = asked(tmp_path, FailingIntake(error), body=b"{}")
    assert (status, headers[b"retry-after"]) == (503, b"5")
    assert b"secret" not in body
    assert "secret" not in caplog.text
    assert type(error).__name__ in caplog.text
    assert "test_receiver.py" in caplog.text


def test_a_full_journal_is_503(tmp_path, caplog):
    """It is no surprise, and nothing is logged here: the journal does."""
    status, headers, _ = asked(tmp_path, FailingIntake(JournalUnavailableError("full")), body=b"{}")
    assert (status, headers[b"retry-after"]) == (503, b"5")
    assert not caplog.records


def test_a_request_that_the_server_cancels_is_503(tmp_path):
    """When the time for a graceful end is over, what is in flight is told to come again."""

    async def cancel():
        raise asyncio.CancelledError

    for content_type in (JSON, PROTOBUF):
        intake = FailingIntake(RuntimeError())
        status, headers, _ = asked(tmp_path, intake, content_type=content_type, receive=cancel)
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert headers[b"content-type"] == content_type.encode()


def test_a_body_that_is_shorter_than_announced_is_503(tmp_path):
    """Never a success for what was not read, whatever a server makes of it."""
    headers = [(b"content-length", b"10")]
    assert asked(tmp_path, FailingIntake(RuntimeError()), headers=headers, body=b"{}")[0] == 503


def test_more_than_the_journal_may_take_is_413(tmp_path):
    """It would be too much the next time as well."""
    status, headers, _ = asked(tmp_path, FailingIntake(TooMuchError("secret")), body=b"{}")
    assert status == 413
    assert b"retry-after" not in headers


class SlowIntake:
    """An intake that waits before it looks at its first, or its second span, or before it writes them."""

    def __init__(self, waits_before: int) -> None:
        self.waits_before = waits_before
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        self.is_kept = self.is_counted = False

    def take(self, scopes, is_awaited):
        self._wait_before(0)
        for number, _ in enumerate(scopes, start=1):
            self._wait_before(number)
        self._wait_before(3)
        self.is_kept, self.is_counted = True, is_awaited()
        return Taken()

    def _wait_before(self, number: int) -> None:
        if number == self.waits_before:
            self.has_begun.set()
            assert self.may_go_on.wait(60)


TWO_SCOPES = b'{"resourceSpans":[{"scopeSpans":[{},{}]}]}'


@pytest.mark.parametrize("waits_before", [0, 1, 2])
def test_what_takes_too_long_is_503_and_not_kept(tmp_path, monkeypatch, waits_before):
    """The client is told to come again before it gives up by itself; nothing is kept, or counted, behind its back."""
    monkeypatch.setattr("otel_usage.exporter.receiver.intake._PATIENCE_SECONDS", 0.05)
    intake = SlowIntake(waits_before)
    assert asked(tmp_path, intake, body=TWO_SCOPES, answered=intake.may_go_on.set)[0] == 503
    assert not intake.is_kept


def leaving(intake: SlowIntake, body: bytes):
    """A client that sends a body, and goes when the intake is at work on it."""
    bodies = [body]

    async def receive():
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await asyncio.to_thread(intake.has_begun.wait, 60)
        return {"type": "http.disconnect"}

    return receive


@pytest.mark.parametrize("waits_before", [0, 1, 2])
def test_what_nobody_waits_for_is_not_kept(tmp_path, waits_before):
    """A client that gives up by itself comes again with the same: it is to be counted once."""
    intake = SlowIntake(waits_before)
    receive = leaving(intake, TWO_SCOPES)
    assert asked(tmp_path, intake, receive=receive, answered=intake.may_go_on.set)[0] == 0
    assert not intake.is_kept


def test_what_is_written_for_nobody_is_not_counted(tmp_path):
    """Its rows are the same when it comes again; what is counted of it is counted then."""
    intake = SlowIntake(waits_before=3)
    threading.Timer(0.5, intake.may_go_on.set).start()
    assert asked(tmp_path, intake, receive=leaving(intake, TWO_SCOPES))[0] == 0
    assert intake.is_kept
    assert not intake.is_counted


def test_what_is_being_written_is_waited_for(tmp_path, monkeypatch):
    """Nobody knows any more that it will not be kept: it would be answered 503, and come again."""
    monkeypatch.setattr("otel_usage.exporter.receiver.intake._PATIENCE_SECONDS", 0.05)
    intake = SlowIntake(waits_before=3)
    threading.Timer(0.3, intake.may_go_on.set).start()
    assert asked(tmp_path, intake, body=TWO_SCOPES)[0] == 200
    assert intake.is_kept
    assert intake.is_counted


def test_what_the_server_cancels_is_not_kept(tmp_path):
    """A receiver that is to end works on nothing that was told to come again."""
    intake = SlowIntake(waits_before=1)

    async def end_amid_work():
        asking = asyncio.create_task(_ask(tmp_path, intake, (), TWO_SCOPES, JSON, None, answered=intake.may_go_on.set))
        await asyncio.to_thread(intake.has_begun.wait, 60)
        asking.cancel()
        return await asking

    assert asyncio.run(end_amid_work())[0] == 503
    assert not intake.is_kept


def test_a_worker_that_does_not_end_is_killed():
    """The others end by themselves; the exit code is that of a good end."""
    script = """
        import os, signal, time
        from otel_usage.exporter.receiver import workers
        workers._PATIENCE_SECONDS = 1
        def work(index, gone):
            if index:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(1, b"ready\\n")
            time.sleep(60)
        raise SystemExit(workers.Workers(2, work, lambda is_asked: None, print).run())
    """
    arguments = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        process.terminate()
        assert process.communicate(timeout=30)[0] == "1 workers do not end, and are killed\n"
    assert process.returncode == 0


def test_files_are_looked_at_by_what_macos_has_too():
    """It cannot wait for a signal for so long and no longer."""
    script = """
        import os, signal
        for name in ("sigtimedwait", "sigwaitinfo"):
            vars(signal).pop(name, None)
        from otel_usage.exporter.receiver import workers
        workers.LOOK_SECONDS = 0.1
        def look(is_asked):
            os.kill(os.getpid(), signal.SIGTERM)
        raise SystemExit(workers.Workers(2, lambda index, gone: len(os.read(gone, 1)), look, print).run())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("status", [400, 401, 404, 405, 413, 415, 503])
def test_failures_are_google_rpc_status(status):
    """Code and message, as protobuf's framing has them."""
    made = otlp_answers.failure(PROTOBUF, status, "why" * 100)
    code = {401: 16, 404: 12, 405: 12, 503: 14}.get(status, 3)
    assert made.content == bytes([0x08, code, 0x12, 0xAC, 0x02]) + b"why" * 100
    assert otlp_answers.failure("text/html", HTTPStatus(status), "why").media_type == JSON


def test_partial_success():
    """Only where something is rejected, with the number in both forms."""
    assert otlp_answers.success(PROTOBUF, 0).content == b""
    told = ExportTraceServiceResponse.FromString(otlp_answers.success(PROTOBUF, 300).content).partial_success
    assert told.rejected_spans == 300
    assert told.error_message
    assert b'"rejectedSpans": "300"' in otlp_answers.success(JSON, 300).content


def test_decompression_within_a_bound():
    """The bound may be reached, not passed."""
    body = gzip.compress(bytes(1000))
    assert decompress(body, "gzip", 1000) == bytes(1000)
    for encoding, sent in (("gzip", body), ("identity", bytes(1000))):
        with pytest.raises(BodyTooLargeError):
            decompress(sent, encoding, 999)


def test_members_that_end_where_a_piece_does():
    """Compressed bodies are read in pieces of 64 KiB; a member may end anywhere, also there."""
    contents = (bytes(size) for size in range(65_000, 65_536))
    content = next(content for content in contents if len(gzip.compress(content, 0)) == 65_536)
    assert decompress(gzip.compress(content, 0) + gzip.compress(b"more"), "gzip", 1 << 20) == content + b"more"


def span(**attributes) -> SpanData:
    return SpanData(1, 2, None, 3, 4, "GET", attributes, 1)


def test_spans_beyond_the_limits():
    """One with too many attributes, or one nested too deeply, is invalid; at the limit it is kept."""
    limits = Limits(attributes=3, depth=2)
    good = [span(a=1, b=2, c=3), span(a=[[1], [2]]), span(a={"b": [1]})]
    bad = [span(a=1, b=2, c=3, d=4), span(a=[[[]]]), span(a={"b": {"c": {}}})]
    (scope,) = within([ScopeSpans({}, "", [*good, *bad], invalid=1)], limits)
    assert (scope.spans, scope.invalid) == (good, 4)


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:4318", "127.0.0.1", 4318, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:4318", "::1", 4318, True),
        (":4318", "", 4318, False),
        ("0.0.0.0:4318", "0.0.0.0", 4318, False),
        ("[::]:1", "::", 1, False),
        ("collector.example:4318", "collector.example", 4318, False),
    ],
)
def test_addresses(text, host, port, loopback):
    """Host and port, and whether only this machine reaches it."""
    address = listening.parse_address(text)
    assert address == listening.Address(host, port)
    assert address.is_loopback() is loopback


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "192.0.2.1"])
def test_hosts_that_nobody_can_listen_on(host):
    """Also names that cannot even be looked up are refused, and shown."""
    with pytest.raises(ConfigurationError, match=re.escape(host)):
        listening.listen(listening.Address(host, 0))


@pytest.mark.parametrize("text", ["", "4318", "host", "host:", "host:port", "::1:4318", "host:65536", "host:-1", "h:٣"])
def test_what_is_no_address(text):
    """It is refused, and shown."""
    with pytest.raises(ConfigurationError, match="--listen"):
        listening.parse_address(text)


def test_listening_twice():
    """A port that is in use is refused, and nothing stays open."""
    (listener,) = listening.listen(listening.Address("127.0.0.1", 0))
    with listener, pytest.raises(ConfigurationError, match="in use"):
        listening.listen(listening.Address("127.0.0.1", listener.getsockname()[1]))
    assert listener.fileno() == -1


def test_tokens(tmp_path):
    """One a line; the scheme in any case, the token as it stands."""
    (tmp_path / "tokens").write_text("one\n\n  two  \n")
    tokens = bearer.read_tokens(tmp_path / "tokens")
    assert tokens == ("one", "two")
    for header in ("Bearer one", "bearer two", "BEARER  two "):
        assert bearer.is_authorized(header, tokens)
    for header in ("Bearer tw", "Token one", "Bearer \u00e9", "Bearer ", "one"):
        assert not bearer.is_authorized(header, tokens)
    assert not bearer.is_authorized("", tokens)
    assert bearer.is_authorized("", ())


def test_numbers_of_several_workers():
    """Each counts in its own row; a worker that starts again goes on counting, and has no connection yet."""
    numbers = Numbers(2, receiver_metrics.COLUMNS)
    one, two = ReceiverMetrics(numbers, 0), ReceiverMetrics(numbers, 1)
    scope = {"method": "POST", "scheme": "http", "path": "/v1/traces"}
    one.connected(1)
    one.begin(scope)
    one.took(Taken(spans=9, requests=4, skipped=3, rejected=2))
    two.took(Taken(spans=1, requests=1))
    for status, seconds in ((200, 0.005), (200, 0.0051), (503, 20.0), (0, 1.0), (431, 1.0)):
        two.begin(scope)
        two.end(scope, status, seconds)
    ReceiverMetrics(numbers, 0)
    text = prometheus.text(numbers, {"pending_records": 7}).decode()
    for line in (
        'otel_usage_receiver_spans_total{otel_usage_span_outcome="accepted"} 5.0',
        'otel_usage_receiver_spans_total{otel_usage_span_outcome="skipped"} 3.0',
        'otel_usage_receiver_spans_total{otel_usage_span_outcome="rejected"} 2.0',
        "otel_usage_receiver_connections 0.0",
        "http_server_active_requests 0.0",
        "otel_usage_records_pending 7.0",
        'http_server_request_duration_seconds_bucket{http_response_status_code="200",http_route="/v1/traces"'
        ',le="0.005"} 1.0',
        'http_response_status_code="200",http_route="/v1/traces",le="0.01"} 2.0',
        'http_response_status_code="503",http_route="/v1/traces",le="10.0"} 0.0',
        'http_response_status_code="503",http_route="/v1/traces",le="+Inf"} 1.0',
        'http_server_request_duration_seconds_sum{http_response_status_code="503",http_route="/v1/traces"} 20.0',
    ):
        assert line + "\n" in text, line


def test_metric_exporters():
    """None unless the variable names one; what is not installed or serves one worker alone is refused."""
    assert receiver_telemetry.exporters({}) == ()
    assert receiver_telemetry.exporters({"OTEL_METRICS_EXPORTER": "none"}) == ()
    assert receiver_telemetry.exporters({"OTEL_METRICS_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}) == ()
    assert len(receiver_telemetry.exporters({"OTEL_METRICS_EXPORTER": "console, none"})) == 1
    for name in ("zipkin", "prometheus"):
        with pytest.raises(ConfigurationError, match=name):
            receiver_telemetry.exporters({"OTEL_METRICS_EXPORTER": name})


def test_no_body_is_quoted_by_a_decoder(tmp_path):
    """The reason of a refusal says where, not what."""
    status, _, body = asked(tmp_path, FailingIntake(RuntimeError()), body=b'{"resourceSpans":["secret"]}')
    assert status == 400
    assert b"secret" not in body
    with pytest.raises(OTLPDecodeError):
        decompress(b"secret", "gzip", 10)
    assert logging.getLogger("otel_usage").level == logging.NOTSET
