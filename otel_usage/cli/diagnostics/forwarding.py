"""Where records go that are forwarded: whether the endpoint takes them, what was sent, what was lost on the way."""

from collections.abc import Iterator

from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding, moment
from otel_usage.exporter.forwarder import state as forwarding_state
from otel_usage.exporter.forwarder.state import Forwarding
from otel_usage.exporter.paths import StorePaths
from otel_usage.settings import Settings


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding about the endpoint, from here and from what the applications have noted."""
    state = forwarding_state.load(StorePaths.of(settings.database))
    if settings.exporter != "otlp":
        yield from _others(settings)
    else:
        yield from _answers(settings)
    if state is not None and state.url is not None:
        yield from _noted(state)


def _others(settings: Settings) -> Iterator[Finding]:
    url = forwarding_state.destination(settings, StorePaths.of(settings.database))
    if url is not None:
        message = f"The applications of this journal forward to {url}; the settings here are not theirs."
        yield Finding(NOTE, "endpoint", message, "Set OTEL_USAGE_EXPORTER=otlp and what else they have.")


def _answers(settings: Settings) -> Iterator[Finding]:
    try:
        from otel_usage.exporter.forwarder.endpoint import Endpoint, EndpointError
    except ModuleNotFoundError:  # that it is missing is said of the interpreter that forwards
        return
    endpoint = Endpoint(settings)
    try:
        endpoint.check()
    except EndpointError as error:
        yield Finding(ATTENTION, "endpoint", error.message, error.hint or "Start what receives there.")
    else:
        yield Finding(OK, "endpoint", f"{endpoint.url} takes records.")
    finally:
        endpoint.close()


def _noted(state: Forwarding) -> Iterator[Finding]:
    last = "none yet" if state.succeeded_at is None else f"the last at {moment(state.succeeded_at)}"
    were = "1 record was" if state.forwarded == 1 else f"{state.forwarded} records were"
    yield Finding(OK, "endpoint", f"{were} forwarded from this journal, {last}.")
    if state.error is not None and state.failed_at is not None:
        message = f"The last attempt failed at {moment(state.failed_at)}: {state.error}"
        yield Finding(ATTENTION if state.needs_help else NOTE, "endpoint", message)
