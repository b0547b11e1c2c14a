"""Litestar."""

from collections.abc import Callable
from types import ModuleType

from otel_usage.instrumentation.patches import Patches

HOOKS: dict[str, Callable[[Patches, ModuleType], None]] = {}
