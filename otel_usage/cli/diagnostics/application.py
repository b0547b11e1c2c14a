"""Whether requests to an application are recorded: its interpreter, what the application is, and the verdict."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final

from otel_usage.cli.diagnostics import environment, launcher
from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding
from otel_usage.cli.diagnostics.invocation import LAUNCHER, Invocation
from otel_usage.cli.diagnostics.probe import Application, Installed, Wanted
from otel_usage.cli.diagnostics.starting import Answer
from otel_usage.exporter.forwarder.state import url_of
from otel_usage.settings import Settings

_EXCLUDED_URLS: Final = re.compile(r"OTEL_PYTHON_(\w+_)?EXCLUDED_URLS")
_DJANGO_SETTINGS: Final = "DJANGO_SETTINGS_MODULE"
# What Django raises where it has no settings, or had to do without them before.
_DJANGO_SAYS: Final = ("ImproperlyConfigured", "AppRegistryNotReady", "RuntimeError")


def examine(invocation: Invocation, wanted: Wanted | None, answer: Answer, settings: Settings) -> Iterator[Finding]:
    """Everything about the application but its store."""
    facts = answer.facts
    yield _interpreter(invocation, answer)
    if facts is None or not (facts["takes_path"] or facts["recording"]):
        return
    found, application = facts["installed"], facts["application"]
    framework = None if application is None else application["framework"]
    if (absent := environment.missing(found, invocation.name, framework)) is not None:
        yield absent
    else:
        yield from environment.packages(found)
        yield from environment.forwarding(found, settings)
    yield from launcher.examine(invocation, answer, facts, settings)
    yield from environment.contrib_versions(found)
    environ = invocation.settings_environ
    yield from _variables(environ)
    launched = facts["launched"] and not settings.sdk_disabled
    yield from environment.frameworks(found, environ, launched=launched, application=application)
    yield from _django(invocation, found, application)
    if application is not None and wanted is not None:
        yield _application(invocation, wanted, application)


def verdict(findings: list[Finding], wanted: Wanted | None, answer: Answer, settings: Settings) -> Finding:
    """In one line, whether requests will be recorded, and where."""
    blocking = next((each for each in findings if each.blocks), None)
    if blocking is not None:
        message = f"Requests to this application will not be recorded. {blocking.message}"
        return Finding(ATTENTION, "verdict", message, blocking.remedy)
    application = None if answer.facts is None else answer.facts["application"]
    if application is not None and wanted is not None and application["seen"]:
        return Finding(OK, "verdict", f"Requests to {_name(wanted)} will be recorded {_where(settings)}.")
    seen = [each.message.split()[0] for each in findings if each.check == "framework" and each.status == OK]
    if application is None and not seen:
        message = "Requests to this application will not be recorded: nothing that is installed sees them."
        return Finding(ATTENTION, "verdict", message, "Name the application, to be told why: --app module:app")
    whose = f"of {', '.join(seen)}" if application is None else "that OpenTelemetry sees"
    remedy = "--app module:app tells it of one application." if application is None else ""
    return Finding(OK, "verdict", f"Requests to applications {whose} will be recorded {_where(settings)}.", remedy)


def _where(settings: Settings) -> str:
    return f"and forwarded to {url_of(settings)}" if settings.exporter == "otlp" else f"in {settings.database}"


def _interpreter(invocation: Invocation, answer: Answer) -> Finding:
    python, facts = invocation.python, answer.facts
    if answer.timed_out:
        message = f"{python} did not answer in time, and was ended."
        remedy = "--timeout SECONDS gives it more; or see where it hangs."
        return Finding(ATTENTION, "interpreter", message, remedy, blocks=True)
    if facts is None:
        message = f"{python} ended before it could be looked at{_last_line(answer.log)}."
        remedy = f"See what this prints: {shlex.quote(str(python))} -c pass"
        return Finding(ATTENTION, "interpreter", message, remedy, blocks=True)
    if not facts["takes_path"]:
        message = f"{python} is started with -I, -E or -S: the launcher has no effect on it."
        remedy = "Leave the option out, or call otel_usage.install() in the application."
        return launcher.unless_installed(facts, Finding(ATTENTION, "interpreter", message, remedy, blocks=True))
    return Finding(OK, "interpreter", f"{invocation.name} runs in {facts['installed']['executable']}.")


def _last_line(log: str) -> str:
    lines = log.split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    # What follows an exception's name may hold what must not be shown.
    shown = said if said.startswith(f"{LAUNCHER}: error: ") else said.partition(":")[0]
    return f": {shown}" if said else ""


def _variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(filter(_EXCLUDED_URLS.fullmatch, environ)):
        if environ[name]:
            yield Finding(NOTE, "configuration", f"{name}={environ[name]}: such requests make no span and no row.")
    if sampler := environ.get("OTEL_TRACES_SAMPLER"):
        message = f"OTEL_TRACES_SAMPLER={sampler} is for traces; every request is recorded all the same."
        yield Finding(NOTE, "configuration", message)


def _django(invocation: Invocation, found: Installed, application: Application | None) -> Iterator[Finding]:
    """OpenTelemetry reads Django's settings when it is launched, and gives Django empty ones if it finds none."""
    if "django" not in found["packages"] or environment.INSTRUMENTATIONS["django"] not in found["packages"]:
        return
    named = invocation.environ.get(_DJANGO_SETTINGS)
    managed = any(word.endswith("manage.py") for word in (invocation.name, *invocation.arguments[:1]))
    served = managed or (application is not None and application["framework"] == "django")
    failed = application is not None and (application["error"] or "").startswith(_DJANGO_SAYS)
    remedy = f"{_DJANGO_SETTINGS}=mysite.settings {LAUNCHER} {invocation.name} ..."
    if not named:
        message = f"{_DJANGO_SETTINGS} is not set: launched so, Django has no settings and answers 500."
        if served or failed:
            yield Finding(ATTENTION if served else NOTE, "django", message, remedy, blocks=served)
    elif application is not None and served and application["settings"] is None:
        message = f"{_DJANGO_SETTINGS}={named} cannot be imported when the launcher starts: Django has no settings."
        yield Finding(
            ATTENTION, "django", message, "Check its name, and that it is in the current folder.", blocks=True
        )


def _application(invocation: Invocation, wanted: Wanted, application: Application) -> Finding:
    name = _name(wanted)
    if application["error"]:
        remedy = f"See what this prints: {shlex.quote(str(invocation.python))} -c 'import {wanted['module']}'"
        message = f"{name} cannot be imported: {application['error']}."
        return Finding(ATTENTION, "application", message, remedy, blocks=True)
    framework = application["framework"]
    what = f"{name} ({framework or application['kind']})"
    if application["seen"]:
        return Finding(OK, "application", f"{what}: its requests make spans.")
    if framework is None:
        remedy = "Send it a request and look: otel-usage report latest"
        return Finding(NOTE, "application", f"{what}: whether its requests make spans cannot be told from it.", remedy)
    message = f"{what}: its requests make no spans."
    remedy = f"Let {framework} be instrumented, and make the application of the class that `import {framework}` gives."
    return Finding(ATTENTION, "application", message, remedy, blocks=True)


def _name(wanted: Wanted) -> str:
    names = wanted["names"]
    return wanted["module"] + (f":{names[0]}" if len(names) == 1 else "")
