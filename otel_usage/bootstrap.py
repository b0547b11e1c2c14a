"""The composition root inside an application: `install()` joins instrumentation and exporter.

Called by the launcher's entry point or by an application itself. It makes no file, no key and no thread: the first
request of a process does, since this also runs in supervisors and before forks.
"""

import logging
import threading
from functools import partial
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from otel_usage import settings as settings_module
from otel_usage.exporter import span_exporter
from otel_usage.exporter.keeping import Keeper, RequestSpan
from otel_usage.exporter.losses import ENCODE_ERROR
from otel_usage.exporter.recorder import Recorder
from otel_usage.instrumentation import providers
from otel_usage.instrumentation.frameworks import patch_all
from otel_usage.instrumentation.patches import Patches
from otel_usage.instrumentation.processor import FinishedRequest, UsageSpanProcessor
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
        tracer_provider: The one provider whose request spans are recorded. Without it those of every SDK provider
            are; and where the application has set none, one stands in until it does, configured by the `OTEL_*`
            variables.

    A second call does nothing until `uninstall()`. Settings that cannot be used are logged and defaulted.
    """
    global _installed
    with _lock:
        if _installed is not None:
            return
        settings = settings_module.load(strict=False)
        for problem in settings.problems:
            _logger.warning("otel-usage: %s The default is used.", problem)
        if not settings.sdk_disabled:
            _installed = _Installation(settings, tracer_provider)


def uninstall() -> None:
    """Undo `install()`: close what this process has written and put every patched function back."""
    global _installed
    with _lock:
        if _installed is not None:
            _installed.remove()
            _installed = None


class _Installation:
    """What one `install()` has put in place."""

    def __init__(self, settings: Settings, provider: TracerProvider | None) -> None:
        self.settings = settings
        self._recorder = Recorder(settings)
        self._keeper = Keeper(settings, self._recorder) if settings.exporter != "none" else None
        self._patches = Patches(provider)
        self._processor = UsageSpanProcessor(
            self._keep,
            self._recorder.token_key,
            self._recorder.force_flush,
            self._recorder.shutdown,
            lost=partial(self._recorder.count, ENCODE_ERROR),
            is_alone=lambda: self._followed.is_alone(),
            is_forwarded=settings.exporter == "otlp",
        )
        is_keeping = self._keeper is not None
        if is_keeping:
            span_exporter.leave_to_processor(settings.database)
        self._followed = providers.Followed(self._processor, all_requests=is_keeping, only=provider)
        self._followed.begin(self._patches)
        # Where nothing is kept, nobody would see the attributes until the application sets a provider.
        if provider is None and is_keeping and providers.is_missing():
            self._stand_in()
        patch_all(self._patches)

    def remove(self) -> None:
        self._processor.active = False
        self._patches.undo()
        self._recorder.remove()
        span_exporter.take_back(self.settings.database)

    def _stand_in(self) -> None:
        try:
            providers.stand_in(self._patches)
        except Exception:
            _logger.warning("No tracer provider can be put in place: set one of opentelemetry-sdk.", exc_info=True)

    def _keep(self, request: FinishedRequest) -> None:
        if self._keeper is not None:
            # A mapping proxy's own copy: going through its items costs a call for each.
            attributes: dict[str, Any] = (request.span.attributes or {}).copy()  # type: ignore[attr-defined]  # typed as Mapping
            attributes.update(request.overlay)
            self._keeper.keep(RequestSpan(request.span, request.end_time_ns, attributes, request.secrets))


# Applications wrap several of their parts, some in threads.
_lock = threading.RLock()
_installed: _Installation | None = None
