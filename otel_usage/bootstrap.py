"""The composition root inside an application: `install()` joins instrumentation and exporter.

Called by the launcher's entry point or by an application itself. It makes no file, no key and no thread: the first
request of a process does, since this also runs in supervisors and before forks.
"""

import logging
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_usage import settings as settings_module
from otel_usage.exporter import span_exporter
from otel_usage.exporter.keeping import Keeper, RequestSpan
from otel_usage.exporter.recorder import Recorder
from otel_usage.instrumentation.frameworks import patch_all
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import FinishedRequest, UsageSpanProcessor
from otel_usage.instrumentation.sampler import unwrap_sampler, wrap_sampler
from otel_usage.settings import Settings

_logger = logging.getLogger("otel_usage")


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
        self._recorder = Recorder(settings)
        self._keeper = Keeper(settings, self._recorder) if settings.exporter == "duckdb" else None
        self._provider = provider
        self._patches = Patches()
        self._processor = UsageSpanProcessor(
            self._keep,
            self._recorder.token_key,
            self._recorder.force_flush,
            self._recorder.shutdown,
            partial(_has_one_processor, provider),
        )
        if self._keeper is not None:
            wrap_sampler(provider)
            span_exporter.leave_to_processor(settings.database)
        provider.add_span_processor(self._processor)
        patch_all(self._patches)

    def remove(self) -> None:
        self._processor.active = False
        _remove_processor(self._provider, self._processor)
        unwrap_sampler(self._provider)
        self._patches.undo()
        self._recorder.shutdown()
        span_exporter.take_back(self.settings.database)

    def _keep(self, request: FinishedRequest) -> None:
        if self._keeper is not None:
            # A mapping proxy's own copy: going through its items costs a call for each.
            attributes: dict[str, Any] = (request.span.attributes or {}).copy()  # type: ignore[attr-defined]
            attributes.update(request.overlay)
            self._keeper.keep(RequestSpan(request.span, request.end_time_ns, attributes, request.secrets))


def _has_one_processor(provider: Any) -> bool:
    multi = getattr(provider, "_active_span_processor", None)
    return len(getattr(multi, "_span_processors", ())) == 1


def _remove_processor(provider: Any, processor: UsageSpanProcessor) -> None:
    multi = getattr(provider, "_active_span_processor", None)
    processors = getattr(multi, "_span_processors", None)
    if multi is not None and processors is not None:
        multi._span_processors = tuple(other for other in processors if other is not processor)


_installed: _Installation | None = None
