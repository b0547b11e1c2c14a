"""From exceptions to exit codes and one line on standard error. The only place that knows the codes."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

import typer

from otel_usage import errors

FAILED: Final = 1
USAGE: Final = 2
STORE: Final = 3
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as a shell reports it
INTERRUPTED: Final = 130  # 128 + SIGINT


class OutputClosedError(Exception):
    """Whoever read standard output went away. Typer would end the program itself at a BrokenPipeError."""


# Typer's errors of wrong usage share a base that it exports under no name of its own.
_UsageError: Final[type[Any]] = typer.BadParameter.__bases__[0]

_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (_UsageError, USAGE),
    (errors.ConfigurationError, USAGE),
    (errors.UnknownReportError, USAGE),
    (errors.InvalidPeriodError, USAGE),
    (errors.InvalidFilterError, USAGE),
    (errors.StoreError, STORE),
    (OutputClosedError, BROKEN_PIPE),
    (KeyboardInterrupt, INTERRUPTED),
    (typer.Abort, INTERRUPTED),
)


def exit_code(error: BaseException) -> int:
    """The exit code for an exception; 1 for every one without a code of its own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def guarded(command: Callable[[], int | None], debugging: Callable[[], bool]) -> int:
    """Run a command; whatever it raises becomes one line on standard error and an exit code.

    Args:
        command: Its result is the exit code, None for 0.
        debugging: Whether to print the traceback too; asked only after something was raised.
    """
    try:
        code = command() or 0
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code(error)
        _say(error, code)
        if debugging():
            traceback.print_exception(error, file=sys.stderr)
    _close_standard_output()
    return code


def _say(error: BaseException, code: int) -> None:
    if code in (BROKEN_PIPE, INTERRUPTED):
        return
    from otel_usage.reports.values import visible

    sys.stderr.write(f"otel-usage: error: {visible(_line(error))}\n")


def _line(error: BaseException) -> str:
    if isinstance(error, _UsageError):
        return f"{_flat(error.format_message()).rstrip('.')}. `otel-usage --help` shows how."
    if isinstance(error, errors.OtelUsageError):
        return _flat(str(error))
    return f"{type(error).__name__}: {_flat(str(error))} `otel-usage --debug ...` shows where."


def _flat(text: str) -> str:
    return " ".join(text.split())


def _close_standard_output() -> None:
    """Keep the interpreter's own last flush from failing once more, where it cannot be caught."""
    if sys.stdout is None:  # it was closed before we began
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
