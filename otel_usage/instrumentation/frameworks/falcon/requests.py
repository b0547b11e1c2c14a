"""What Falcon does with a request and leaves nowhere in it: where it was routed to, and what was raised."""

import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from otel_usage.enrichment.resources import know_templates
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.state import RequestState, current, qualified_name

_logger = logging.getLogger("otel_usage")


class Seen:
    """A request, with its parameters once it is routed, and the class of what was raised last."""

    __slots__ = ("error_type", "params", "request")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.params: Mapping[str, Any] = {}
        self.error_type: str | None = None


def patch(patches: Patches, module: ModuleType) -> None:
    """See what becomes of each request; ASGI applications inherit all three."""
    patches.replace(module.App, "add_route", _learn)
    patches.replace(module.App, "_get_responder", _see_route)
    patches.replace(module.App, "_find_error_handler", _see_error)


def _learn(original: Any) -> Any:
    def add_route(self: Any, uri_template: Any, *args: Any, **kwargs: Any) -> None:
        original(self, uri_template, *args, **kwargs)
        know_templates((uri_template,))

    return add_route


def _see_route(original: Any) -> Any:
    def _get_responder(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(self, req, *args, **kwargs)
        state = current()
        if state is not None and isinstance(state.native, Seen) and state.native.request is req:
            try:
                _note_route(state, *found[:3])
            except Exception:
                _logger.debug("Where Falcon has routed a request to cannot be told.", exc_info=True)
        return found

    return _get_responder


def _note_route(state: RequestState, responder: Any, params: Mapping[str, Any], resource: Any) -> None:
    state.native.params = params
    name = getattr(responder, "__name__", "")
    # Where a resource has no responder, Falcon answers with one of its own, which is not named so.
    if resource is not None and name.startswith("on_"):
        state.operation = f"{type(resource).__name__}.{name}"


def _see_error(original: Any) -> Any:
    def _find_error_handler(self: Any, ex: Exception, *args: Any, **kwargs: Any) -> Any:
        state = current()
        if state is not None and isinstance(state.native, Seen):
            state.native.error_type = qualified_name(ex)
        return original(self, ex, *args, **kwargs)

    return _find_error_handler
