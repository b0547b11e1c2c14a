"""What the launcher did in the interpreter of an application, and why it did not do more."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from otel_usage.cli.diagnostics import environment
from otel_usage.cli.diagnostics import invocation as commands
from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding
from otel_usage.cli.diagnostics.invocation import LAUNCHER, Invocation
from otel_usage.cli.diagnostics.probe import Facts
from otel_usage.cli.diagnostics.starting import Answer
from otel_usage.settings import Settings

_GAVE_UP: Final = "Failed to auto initialize OpenTelemetry"
_NO_EXPORTER: Final = re.compile(r"Requested component '(\w+)' not found in entry point 'opentelemetry_(\w+)_exporter'")
_EXPORTERS: Final = {
    "otlp": "opentelemetry-exporter-otlp",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "zipkin": "opentelemetry-exporter-zipkin",
}


def examine(invocation: Invocation, answer: Answer, facts: Facts, settings: Settings) -> Iterator[Finding]:
    """Whether the launcher is there, is the interpreter's own, and has started otel-usage."""
    if answer.launcher is None:
        message = f"{LAUNCHER} is neither beside {invocation.python} nor on PATH."
        yield unless_installed(facts, _blocking(message, environment.install_line(facts["installed"])))
        return
    if (other := _other_environment(invocation, answer)) is not None:
        yield replace(other, blocks=not (facts["launched"] or facts["recording"]))
        if not facts["launched"]:
            return
    if _GAVE_UP in answer.log:
        yield _gave_up(invocation, answer, facts)
    elif not facts["launched"]:
        message = f"{answer.launcher} had no effect on {invocation.python}."
        remedy = "Look for another sitecustomize, and for what resets PYTHONPATH."
        yield unless_installed(facts, _blocking(message, remedy))
    else:
        yield _start(invocation, answer, facts, settings)


def unless_installed(facts: Facts, finding: Finding) -> Finding:
    """An application that calls `otel_usage.install()` needs no launcher."""
    return replace(finding, status=NOTE, remedy="", blocks=False) if facts["recording"] else finding


def _blocking(message: str, remedy: str) -> Finding:
    return Finding(ATTENTION, "launcher", message, remedy, blocks=True)


def _start(invocation: Invocation, answer: Answer, facts: Facts, settings: Settings) -> Finding:
    """Whether request spans reach otel-usage, where it is installed and nothing keeps it from starting."""
    expected = not settings.sdk_disabled and "otel-usage" in facts["installed"]["packages"]
    if expected and not facts["recording"]:
        return _blocking("The launcher did not start otel-usage.", _by_hand(invocation, answer))
    if expected and settings.exporter != "none" and not facts["attached"]:
        message = f"Spans are made by {facts['provider']}, which otel-usage cannot follow."
        return _blocking(message, "Let the application set a TracerProvider of opentelemetry-sdk.")
    return Finding(OK, "launcher", f"{answer.launcher} takes effect.")


def _other_environment(invocation: Invocation, answer: Answer) -> Finding | None:
    own = None if answer.launcher is None else commands.interpreter(answer.launcher, invocation.environ)
    if own is None or own.parent.resolve() == invocation.python.parent.resolve():
        return None
    message = f"{answer.launcher} belongs to {own}, and {invocation.name} runs in {invocation.python}."
    remedy = f"Start it with {invocation.python.with_name(LAUNCHER)}, which comes with otel-usage."
    return Finding(ATTENTION, "launcher", message, remedy)


def _gave_up(invocation: Invocation, answer: Answer, facts: Facts) -> Finding:
    missing = _NO_EXPORTER.search(answer.log)
    if missing is None:
        message, remedy = "The launcher gave up, and instrumented little or nothing.", _by_hand(invocation, answer)
    else:
        name, signal = missing.groups()
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        message = f"The launcher gave up: {variable} asks for {name}, and no such exporter is installed."
        package = _EXPORTERS.get(name)
        install = f"{environment.pip_line(facts['installed'], package)}; or: " if package else ""
        remedy = f"{install}{variable}=none"
    return Finding(ATTENTION, "launcher", message, remedy, blocks=not facts["recording"] or missing is not None)


def _by_hand(invocation: Invocation, answer: Answer) -> str:
    return f"See what this prints: {shlex.join([str(answer.launcher), str(invocation.python), '-c', 'pass'])}"
