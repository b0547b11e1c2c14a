"""What `otel-usage doctor` looks at: small checks, each giving findings. Changes nothing, commits nothing.

Each module owns the checks of what its name says; here they are put in order.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from otel_usage.cli.diagnostics import application, environment, probe, starting, store
from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding
from otel_usage.cli.diagnostics.invocation import Invocation
from otel_usage.cli.diagnostics.probe import Wanted
from otel_usage.settings import Settings

__all__ = ["ATTENTION", "NOTE", "OK", "Finding", "examine", "examine_application"]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def examine(settings: Settings, environ: Mapping[str, str] = _NOTHING) -> list[Finding]:
    """Every finding about this interpreter and its store, in a fixed order."""
    found = probe.installed(environment.INSTRUMENTATIONS.values())
    return [
        *environment.packages(found),
        *environment.frameworks(found, environ),
        *environment.contrib_versions(found),
        *environment.launcher(),
        *environment.forwarding(found, settings),
        *store.configuration(settings),
        *store.examine(settings),
    ]


def examine_application(
    invocation: Invocation, wanted: Wanted | None, settings: Settings, *, seconds: int
) -> list[Finding]:
    """Every finding about an application and where its records go; the verdict is the last.

    Args:
        invocation: How it is started.
        wanted: The application, if it is known; it is imported.
        settings: Those that it will have.
        seconds: How long its interpreter may take.
    """
    answer = starting.ask(invocation, environment.INSTRUMENTATIONS.values(), wanted, seconds)
    findings = [
        *application.examine(invocation, wanted, answer, settings),
        *store.configuration(settings),
        *store.examine_destination(settings),
    ]
    return [*findings, application.verdict(findings, wanted, answer, settings)]
