"""One file per framework or protocol, and here the list of them: the place where a new one is added.

Each file has the same verbs: `HOOKS` names the modules it waits for and the function that runs when one is imported,
`patch(patches, module)`; `read_facts(state)` states the facts of a request from the framework's own objects.
"""

import importlib.util
import logging
import sys
from types import ModuleType

from otel_usage.instrumentation import fastapi_gaps
from otel_usage.instrumentation.frameworks import (
    aiohttp,
    asgi,
    bottle,
    django,
    falcon,
    fastapi,
    flask,
    litestar,
    pyramid,
    quart,
    sanic,
    starlette,
    tornado,
    wsgi,
)
from otel_usage.instrumentation.patches import Patches

_logger = logging.getLogger("otel_usage")

_FILES = (
    aiohttp,
    asgi,
    bottle,
    django,
    falcon,
    fastapi,
    flask,
    litestar,
    pyramid,
    quart,
    sanic,
    starlette,
    tornado,
    wsgi,
)

# Module of a framework -> what OpenTelemetry needs to see its requests, and the extra that installs it.
INSTRUMENTATIONS = {
    "aiohttp.web": ("opentelemetry.instrumentation.aiohttp_server", "aiohttp"),
    "django.core.handlers.base": ("opentelemetry.instrumentation.django", "django"),
    "falcon.app": ("opentelemetry.instrumentation.falcon", "falcon"),
    "fastapi.applications": ("opentelemetry.instrumentation.fastapi", "fastapi"),
    "flask.app": ("opentelemetry.instrumentation.flask", "flask"),
    "pyramid.config": ("opentelemetry.instrumentation.pyramid", "pyramid"),
    "starlette.applications": ("opentelemetry.instrumentation.starlette", "starlette"),
    "tornado.web": ("opentelemetry.instrumentation.tornado", "tornado"),
}

# Frameworks that OpenTelemetry does not instrument: their files make the spans.
INSTRUMENTED_HERE = ("bottle", "litestar", "quart", "sanic")


def patch_all(patches: Patches) -> None:
    """Let every framework file do its part as soon as its framework is imported."""
    for file in _FILES:
        for module, patch in file.HOOKS.items():
            patches.on_import(module, patch)
    for module in INSTRUMENTATIONS:
        patches.on_import(module, _warn_if_unseen)


def _warn_if_unseen(_patches: Patches, module: ModuleType) -> None:
    instrumentation, extra = INSTRUMENTATIONS[module.__name__]
    # FastAPI is a Starlette for which its own instrumentation suffices, and newer versions make spans by themselves.
    if (extra == "starlette" and "fastapi" in sys.modules) or (extra == "fastapi" and fastapi_gaps.makes_spans()):
        return
    if importlib.util.find_spec(instrumentation) is None:
        _logger.warning(
            "%s is imported but %s is not installed: its requests make no spans and no rows. "
            "Run: pip install 'otel-usage[%s]'",
            module.__name__.partition(".")[0],
            instrumentation,
            extra,
        )
