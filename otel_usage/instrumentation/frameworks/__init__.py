"""One file per framework or protocol, and here the list of them: the place where a new one is added.

Each file has the same verbs: `patch(patches, module)` runs when `MODULE` is imported, and `read_facts(state)` states
the facts of a request from the framework's own objects.
"""

import importlib.util
import logging
from types import ModuleType

from otel_usage.instrumentation.frameworks import asgi, django, fastapi, flask, wsgi
from otel_usage.instrumentation.patches import Patches

_logger = logging.getLogger("otel_usage")

# Module of a framework -> what OpenTelemetry needs to see its requests, and the extra that installs it.
INSTRUMENTATIONS = {
    "flask.app": ("opentelemetry.instrumentation.flask", "flask"),
    "fastapi.applications": ("opentelemetry.instrumentation.fastapi", "fastapi"),
    "django.core.handlers.base": ("opentelemetry.instrumentation.django", "django"),
}


def patch_all(patches: Patches) -> None:
    """Let every framework file do its part as soon as its framework is imported."""
    for file in (asgi, django, fastapi, flask, wsgi):
        patches.on_import(file.MODULE, file.patch)
    patches.on_import(django.MODULE_WSGI, django.patch_wsgi)
    patches.on_import(django.MODULE_ASGI, django.patch_asgi)
    for module in INSTRUMENTATIONS:
        patches.on_import(module, _warn_if_unseen)


def _warn_if_unseen(_patches: Patches, module: ModuleType) -> None:
    instrumentation, extra = INSTRUMENTATIONS[module.__name__]
    if importlib.util.find_spec(instrumentation) is None:
        _logger.warning(
            "%s is imported but %s is not installed: its requests make no spans and no rows. "
            "Run: pip install 'otel-usage[%s]'",
            module.__name__.partition(".")[0],
            instrumentation,
            extra,
        )
