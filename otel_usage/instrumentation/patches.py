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
    """The replacements of one `install()`."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self.active = True

    def on_import(self, module: str, patch: Callable[["Patches", ModuleType], None]) -> None:
        """Run `patch` once `module` is imported, at once if it is; a failure is logged, never raised."""

        def run(imported: ModuleType) -> None:
            if not self.active:
                return
            try:
                patch(self, imported)
            except Exception:
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
        while self._undo:
            try:
                self._undo.pop()()
            except Exception:
                _logger.warning("Something that otel-usage replaced cannot be put back.", exc_info=True)
