"""Replacing functions of other libraries, when they are imported, and putting them back.

What a replacement does is in `frameworks/`.
"""

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

_logger = logging.getLogger("otel_usage")


class Patches:
    """The replacements of one `install()`.

    Args:
        tracer_provider: The provider of the spans that replacements make; None for the global one.
    """

    def __init__(self, tracer_provider: Any = None) -> None:
        self.tracer_provider = tracer_provider
        self._undo: list[Callable[[], None]] = []
        self.active = True

    def on_import(self, module: str, patch: Callable[["Patches", ModuleType], None]) -> None:
        """Run `patch` once `module` is imported, at once if it is; a failure is logged, never raised."""

        def run(imported: ModuleType) -> None:
            if not self.active:
                return
            begun = len(self._undo)
            try:
                patch(self, imported)
            except Exception:
                # Half of a patch would make wrong rows of its requests.
                self._undo_from(begun)
                _logger.warning("Requests served by %s cannot be described.", module, exc_info=True)

        wrapt.register_post_import_hook(run, module)

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(original)` in the place of `owner.name`, dressed as the original."""
        original = vars(owner)[name]
        replacement = functools.wraps(original)(make(original))
        setattr(owner, name, replacement)

        def restore() -> None:
            # Whoever wrapped it after us keeps their wrap; ours inside it then only passes through.
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)

        self._undo.append(restore)

    def at_undo(self, action: Callable[[], None]) -> None:
        """Run `action` when the replacements are undone."""
        self._undo.append(action)

    def undo(self) -> None:
        """Put every original back, the last first; what cannot be put back does not keep the rest from it."""
        self.active = False
        self._undo_from(0)

    def _undo_from(self, number: int) -> None:
        while len(self._undo) > number:
            try:
                self._undo.pop()()
            except Exception:
                _logger.warning("Something that otel-usage replaced cannot be put back.", exc_info=True)
