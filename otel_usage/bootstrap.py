"""The composition root inside an application: `install()` joins instrumentation and exporter.

Called by the launcher's entry point or by an application itself. It makes no file, no key and no thread: the first
request of a process does, since this also runs in supervisors and before forks.
"""

import logging
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from otel_usage import attributes as key
from otel_usage import settings as settings_module
from otel_usage.exporter import span_exporter
from otel_usage.exporter.record import Service, SpanFacts, from_span, service_of
from otel_usage.exporter.recorder import Recorder
from otel_usage.instrumentation.frameworks import patch_all
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import FinishedRequest, UsageSpanProcessor
from otel_usage.instrumentation.sampler import unwrap_sampler, wrap_sampler
from otel_usage.settings import Settings

_logger = logging.getLogger("otel_usage")

# Shorter texts occur by chance: replacing them would spoil what is kept and hide no secret.
_MIN_SCRUBBED = 8


def pre_instrument() -> None:
    """The launcher's entry point: an exception here would stop all instrumentation, so none leaves."""
    try:
        install()
    except Exception:
        _logger.warning("otel-usage could not be installed; nothing is recorded.", exc_info=True)


def install(tracer_provider: TracerProvider | None = None) -> None:
    """Record every HTTP request of this process that OpenTelemetry sees.

    Args:
        tracer_provider: The provider whose request spans are recorded. Without one the global provider; where
            that is still the API's proxy, an SDK provider is made and set, configured by the `OTEL_*` variables.

    A second call does nothing until `uninstall()`. Settings that cannot be used are logged and defaulted.
    """
    global _installed
    if _installed is not None:
        return
    settings = settings_module.load(strict=False)
    for problem in settings.problems:
        _logger.warning("otel-usage: %s The default is used.", problem)
    if settings.sdk_disabled:
        return
    provider = tracer_provider or _global_provider(settings)
    if provider is not None:
        _installed = _Installation(settings, provider)


def uninstall() -> None:
    """Undo `install()`: close what this process has written and put every patched function back."""
    global _installed
    if _installed is not None:
        _installed.remove()
        _installed = None


def _global_provider(settings: Settings) -> Any:
    provider = trace.get_tracer_provider()
    if hasattr(provider, "add_span_processor"):
        return provider
    if settings.exporter == "none":
        # Nobody would see the attributes.
        return None
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    return provider


class _Installation:
    """What one `install()` has put in place."""

    def __init__(self, settings: Settings, provider: Any) -> None:
        self.settings = settings
        self.recorder = Recorder(settings) if settings.exporter == "duckdb" else None
        self._provider = provider
        self._service: tuple[object, Service] | None = None
        self._patches = Patches()
        self._processor = UsageSpanProcessor(self._keep, self._token_key, self._flush, self._close)
        if self.recorder is not None:
            wrap_sampler(provider)
            span_exporter.leave_to_processor(settings.database)
        provider.add_span_processor(self._processor)
        patch_all(self._patches)

    def remove(self) -> None:
        self._processor.active = False
        _remove_processor(self._provider, self._processor)
        unwrap_sampler(self._provider)
        self._patches.undo()
        self._close()
        span_exporter.take_back(self.settings.database)

    def _token_key(self) -> bytes | None:
        return self.recorder.token_key() if self.recorder is not None else self.settings.token_key

    def _flush(self, timeout_millis: int) -> bool:
        return self.recorder is None or self.recorder.force_flush(timeout_millis)

    def _close(self) -> None:
        if self.recorder is not None:
            self.recorder.shutdown()

    def _keep(self, request: FinishedRequest) -> None:
        recorder, span = self.recorder, request.span
        if recorder is None or span.context is None or span.start_time is None:
            return
        attributes = {**(span.attributes or {}), **request.overlay}
        if not self.settings.anonymous and _is_anonymous(attributes):
            recorder.count("anonymous_left_out")
            return
        if key.TOKEN_SCHEME in attributes and key.TOKEN_ID not in attributes:
            recorder.count("token_unidentified")
        if request.credential is not None and _holds(attributes, request.credential):
            attributes = _scrubbed(attributes, request.credential)
        record = from_span(
            SpanFacts(
                trace_id=span.context.trace_id,
                span_id=span.context.span_id,
                parent_span_id=span.parent.span_id if span.parent is not None else None,
                start_time_ns=span.start_time,
                end_time_ns=request.end_time_ns,
            ),
            attributes,
            self._service_of(span),
            privacy_level=self.settings.privacy_level,
            count=recorder.count,
        )
        if record is not None:
            recorder.write(record)

    def _service_of(self, span: ReadableSpan) -> Service:
        cached = self._service
        if cached is None or cached[0] is not span.resource:
            self._service = cached = (span.resource, service_of(span.resource.attributes))
        return cached[1]


def _is_anonymous(attributes: Mapping[str, Any]) -> bool:
    return key.TOKEN_SCHEME not in attributes and not any(name in attributes for name in key.USER_ID_KEYS)


def _holds(attributes: Mapping[str, Any], credential: str) -> bool:
    if len(credential) < _MIN_SCRUBBED:
        return False
    texts = [value if value.__class__ is str else str(value) for value in attributes.values()]
    return credential in "\0".join(texts)


def _scrubbed(attributes: Mapping[str, Any], credential: str) -> dict[str, Any]:
    """The attributes without the credential, wherever an instrumentation or the application has put it."""

    def scrub(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(credential, "REDACTED") if credential in value else value
        return [scrub(element) for element in value] if isinstance(value, (list, tuple)) else value

    return {name: scrub(value) for name, value in attributes.items()}


def _remove_processor(provider: Any, processor: UsageSpanProcessor) -> None:
    multi = getattr(provider, "_active_span_processor", None)
    processors = getattr(multi, "_span_processors", None)
    if multi is not None and processors is not None:
        multi._span_processors = tuple(other for other in processors if other is not processor)


_installed: _Installation | None = None
