"""What Django's instrumentation leaves out: requests whose Host is refused, and the templates of the whole site."""

import logging
import sys
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, Final

from opentelemetry import trace

from otel_usage import attributes as key
from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation.state import current

_logger = logging.getLogger("otel_usage")
_MAX_ROUTES: Final = 4096


def span_of_refused(request: Any, response: Any, started_ns: int) -> None:
    """A request whose Host Django refuses (ALLOWED_HOSTS) fails in the instrumentation too, and has no span there."""
    state = current()
    if state is None or state.keeper is not None or response.status_code != 400 or not _is_refused(request):
        return
    attributes = {
        key.METHOD_KEYS[0]: request.method or "GET",
        key.HTTP_STATUS_CODE: 400,
        key.SCHEME_KEYS[0]: request.scheme,
        key.CLIENT_ADDRESS_KEYS[0]: request.META.get("REMOTE_ADDR", ""),
        key.USER_AGENT_KEYS[0]: request.META.get("HTTP_USER_AGENT", ""),
    }
    tracer = trace.get_tracer("otel_usage")
    tracer.start_span("HTTP", kind=trace.SpanKind.SERVER, attributes=attributes, start_time=started_ns).end()


def _is_refused(request: Any) -> bool:
    from django.core.exceptions import DisallowedHost

    if "opentelemetry.instrumentation.django" not in sys.modules:
        return False
    try:
        request.get_host()
    except DisallowedHost:
        return True
    return False


@cache
def know_routes() -> None:
    """Learn the site's templates, once; a site without usable routes has none."""
    from django.urls import get_resolver

    try:
        know_templates(islice(_routes(get_resolver(), ""), _MAX_ROUTES))
    except Exception:
        _logger.debug("Django's routes cannot be read.", exc_info=True)


def _routes(resolver: Any, prefix: str) -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = f"{prefix}{entry.pattern}"
        if hasattr(entry, "url_patterns"):
            yield from _routes(entry, route)
        else:
            yield route
