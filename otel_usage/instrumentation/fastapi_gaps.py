"""What FastAPI's own request spans leave out; since 0.142 it makes them where OpenTelemetry's middleware does not."""

from collections.abc import MutableMapping
from importlib.util import find_spec
from typing import Any, Final

from otel_usage import attributes as key
from otel_usage.instrumentation.state import RequestState, counting, current

_TELEMETRY: Final = "fastapi.telemetry"
_AGENT: Final = b"user-agent"


def makes_spans() -> bool:
    """Whether this version of FastAPI makes spans by itself."""
    return find_spec("fastapi.telemetry") is not None


def stand_back(scope: MutableMapping[str, Any]) -> None:
    """One request, one SERVER span: where a middleware outside made it, FastAPI makes no second one.

    It sees OpenTelemetry's middleware inside itself, but not around it; this is how it tells mounted applications.
    """
    state = current()
    if state is not None and state.span is not None and counting(scope):
        scope.setdefault(_TELEMETRY, None)


def complete_span(state: RequestState) -> None:
    """Add who asked, which FastAPI leaves out, to a span of its own making."""
    span, scope = state.span, state.native
    if span is None or scope.get(_TELEMETRY) is None or not span.is_recording():
        return
    client = scope.get("client")
    if client:
        span.set_attribute(key.CLIENT_ADDRESS_KEYS[0], client[0])
    agent = next((value for name, value in scope.get("headers") or () if name == _AGENT), None)
    if agent is not None:
        span.set_attribute(key.USER_AGENT_KEYS[0], agent.decode("latin-1"))
