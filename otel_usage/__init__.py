"""Who uses this API, with which token, for which resource, how much: exactly, in DuckDB.

Names are imported when they are first used (PEP 562), so that `import otel_usage` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_usage.bootstrap import install, uninstall
    from otel_usage.exporter.span_exporter import DuckDBSpanExporter
    from otel_usage.instrumentation.application import identify, record_access
    from otel_usage.wrap import wrap_asgi, wrap_wsgi

__all__ = [
    "DuckDBSpanExporter",
    "__version__",
    "identify",
    "install",
    "record_access",
    "uninstall",
    "wrap_asgi",
    "wrap_wsgi",
]

__version__ = "0.1.0"

_HOMES = {
    "install": "otel_usage.bootstrap",
    "uninstall": "otel_usage.bootstrap",
    "identify": "otel_usage.instrumentation.application",
    "record_access": "otel_usage.instrumentation.application",
    "wrap_asgi": "otel_usage.wrap",
    "wrap_wsgi": "otel_usage.wrap",
    "DuckDBSpanExporter": "otel_usage.exporter.span_exporter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
