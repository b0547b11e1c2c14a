"""What is installed in an interpreter: packages, frameworks and what instruments them, and whether they fit."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from otel_usage.cli.diagnostics.finding import ATTENTION, NOTE, OK, Finding
from otel_usage.cli.diagnostics.invocation import LAUNCHER
from otel_usage.cli.diagnostics.probe import Application, Installed
from otel_usage.instrumentation import frameworks as known
from otel_usage.settings import Settings

DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

_CONTRIB: Final = "opentelemetry-instrumentation"
# Framework, which is also the name of its extra -> the distribution that instruments it.
INSTRUMENTATIONS: Final[Mapping[str, str]] = {
    extra: module.replace(".", "-").replace("_", "-") for module, extra in known.INSTRUMENTATIONS.values()
}

_PACKAGES: Final = ("otel-usage", "duckdb", "opentelemetry-sdk", _CONTRIB)
_RELEASED_TOGETHER: Final = ("opentelemetry-util-http", "opentelemetry-distro")
# Often there as what another library needs, and then it serves nothing.
_LIBRARIES: Final = ("aiohttp", "starlette", "tornado")
_OLDEST_PYTHON: Final = (3, 11)


def pip_line(found: Installed, *requirements: str) -> str:
    """The command that installs into this interpreter and no other."""
    python = shlex.quote(found["executable"])
    tool = f"{python} -m pip install" if "pip" in found["packages"] else f"uv pip install --python {python}"
    return " ".join((tool, *(f"'{each}'" if set(each) & set("[<>") else each for each in requirements)))


def install_line(found: Installed, framework: str | None = None) -> str:
    """The command that installs this package for the frameworks that are there, or for one."""
    there = [name for name in INSTRUMENTATIONS if name in found["packages"] and name not in _LIBRARIES]
    extras = ",".join([framework] if framework is not None and framework in INSTRUMENTATIONS else there)
    return pip_line(found, f"otel-usage[{extras}]" if extras else "otel-usage")


def packages(found: Installed) -> Iterator[Finding]:
    """The versions that matter, and what of them otel-usage cannot work with."""
    python = ".".join(map(str, found["python"]))
    versions = ", ".join(f"{name} {found['packages'][name]}" for name in _PACKAGES if name in found["packages"])
    yield Finding(OK, "installed", f"Python {python}, {versions}.")
    if misfits := found["unfit"].get(""):
        message = f"Versions that do not fit: otel-usage needs {', '.join(misfits)}."
        yield Finding(ATTENTION, "installed", message, pip_line(found, *misfits))


def forwarding(found: Installed, settings: Settings) -> Iterator[Finding]:
    """Whether what forwards records is installed, where they are to be forwarded."""
    if settings.exporter == "otlp" and "opentelemetry-proto" not in found["packages"]:
        message = "OTEL_USAGE_EXPORTER=otlp needs opentelemetry-proto: records wait in the journal."
        yield Finding(ATTENTION, "endpoint", message, pip_line(found, "otel-usage[otlp]"))


def missing(found: Installed, program: str, framework: str | None) -> Finding | None:
    """That otel-usage is not installed where the application runs, if so."""
    if tuple(found["python"]) < _OLDEST_PYTHON:
        message = f"{found['executable']} is Python {'.'.join(map(str, found['python']))}."
        return Finding(ATTENTION, "installed", message, "otel-usage needs Python 3.11 or later.", blocks=True)
    if "otel-usage" in found["packages"]:
        return None
    message = f"otel-usage is not installed in the interpreter that runs {program}."
    return Finding(ATTENTION, "installed", message, install_line(found, framework), blocks=True)


def contrib_versions(found: Installed) -> Iterator[Finding]:
    """Whether OpenTelemetry's instrumentation packages are of one release, which alone work together."""
    versions = {
        name: version
        for name, version in found["packages"].items()
        if name.startswith(_CONTRIB) or name in _RELEASED_TOGETHER
    }
    if len(set(versions.values())) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        message = f"Versions that are not released together: {listed}."
        yield Finding(ATTENTION, "contrib", message, pip_line(found, "--upgrade", *sorted(versions)))


def launcher() -> Iterator[Finding]:
    """Whether the launcher is there for whoever works in this environment."""
    beside = Path(sys.executable).with_name(LAUNCHER)
    path = beside if beside.exists() else shutil.which(LAUNCHER)
    if path is not None:
        yield Finding(OK, "launcher", f"{LAUNCHER} is there: {path}.")
        return
    remedy = "Activate the environment of the application, or install opentelemetry-instrumentation in it."
    yield Finding(ATTENTION, "launcher", f"{LAUNCHER} is neither beside this command nor on PATH.", remedy)


def frameworks(
    found: Installed, environ: Mapping[str, str], *, launched: bool = False, application: Application | None = None
) -> Iterator[Finding]:
    """Each framework that is installed: whether and by what its requests are seen.

    Args:
        found: What is installed.
        environ: The application's.
        launched: Whether the launcher has run, so that it can be known what it instrumented.
        application: The one that is served, if it is known: other frameworks are then only noted.
    """
    for name in sorted((*INSTRUMENTATIONS, *known.INSTRUMENTED_HERE)):
        if name not in found["packages"] or (name == "starlette" and _is_fastapis(found)):
            continue
        rest = found["packages"].get("djangorestframework") if name == "django" else None
        title = f"{name} {found['packages'][name]}" + (f" with djangorestframework {rest}" if rest else "")
        problem = _problem(found, name, environ, launched)
        if problem is None:
            yield Finding(OK, "framework", f"{title} {_instrumented(found, name)}.")
        else:
            status, blocks = _weight(name, application)
            yield Finding(status, "framework", f"{title} {problem[0]}", problem[1], blocks)
        if misfits := found["unfit"].get(name):
            message = f"{title} does not fit: otel-usage needs {', '.join(misfits)}."
            yield Finding(ATTENTION, "framework", message, pip_line(found, *misfits))


def _is_fastapis(found: Installed) -> bool:
    """FastAPI's instrumentation sees its applications; that of Starlette is not needed for them."""
    return "fastapi" in found["packages"] and INSTRUMENTATIONS["starlette"] not in found["packages"]


def _weight(name: str, application: Application | None) -> tuple[str, bool]:
    """How much it matters that a framework is not instrumented, and whether nothing is recorded for it."""
    if application is None or application["framework"] is None:
        return (NOTE if name in _LIBRARIES else ATTENTION), False
    served = application["framework"] == name and not application["seen"]
    return (ATTENTION if served else NOTE), served


def _instrumented(found: Installed, name: str) -> str:
    package = INSTRUMENTATIONS.get(name)
    if package is None:
        return "is instrumented by otel-usage"
    if package in found["packages"]:
        return f"is instrumented by {package} {found['packages'][package]}"
    return "makes its spans by itself"


def _makes_spans(found: Installed, name: str) -> bool:
    """FastAPI does since 0.142."""
    version = [int(part) for part in re.findall(r"\d+", found["packages"][name])[:2]]
    return name in known.INSTRUMENTED_HERE or (name == "fastapi" and version >= [0, 142])


def _problem(found: Installed, name: str, environ: Mapping[str, str], launched: bool) -> tuple[str, str] | None:
    """Why a framework is not instrumented, and what to do; None if it is."""
    package = INSTRUMENTATIONS.get(name, "")
    instrumentor = found["instrumentors"].get(package)
    if instrumentor is None:
        missing = "has no OpenTelemetry instrumentation.", install_line(found, name)
        return None if _makes_spans(found, name) else missing
    disabled = [each.strip() for each in environ.get(DISABLED, "").split(",")]
    if "*" in disabled or package.removeprefix(f"{_CONTRIB}-") in disabled:
        return f"is not instrumented: {DISABLED} names it.", f"Take it out of {DISABLED}."
    instrumented = f"{package} {found['packages'][package]}"
    if required := instrumentor["required"]:
        return f"does not fit: {instrumented} instruments {required}.", pip_line(found, required.partition(" or ")[0])
    if error := instrumentor["error"]:
        return f"cannot be instrumented by {instrumented}: {error}.", pip_line(found, "--upgrade", package)
    if launched and not instrumentor["active"]:
        remedy = f"See what this prints: {LAUNCHER} {found['executable']} -c 'import {name}'"
        return f"was not instrumented by {instrumented}.", remedy
    return None
