"""install() and uninstall(): called in any number, and without a trace afterwards."""

import subprocess
import sys

from tests.integration.site import clean_environment


def run(directory, script, **environment):
    """The last line that a script printed."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env=clean_environment(directory, **environment),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1] if done.stdout else ""


HEAD = """
import otel_usage
from otel_usage import bootstrap
from opentelemetry import trace
"""


def test_twice_is_once(tmp_path):
    """A second install() and a second uninstall() do nothing."""
    script = """
otel_usage.install()
first = bootstrap._installed
otel_usage.install()
assert bootstrap._installed is first
otel_usage.uninstall()
otel_usage.uninstall()
print(bootstrap._installed)
"""
    assert run(tmp_path, HEAD + script) == "None"


def test_given_provider(tmp_path):
    """With a provider given no other is made."""
    script = """
from opentelemetry.sdk.trace import TracerProvider
otel_usage.install(tracer_provider=TracerProvider())
print(type(trace.get_tracer_provider()).__name__)
"""
    assert run(tmp_path, HEAD + script) == "ProxyTracerProvider"


def test_the_entry_point_raises_nothing(tmp_path):
    """An exception in it would stop all instrumentation."""
    script = """
from otel_usage.instrumentation import providers
providers.Followed.begin = lambda *_: 1 / 0
bootstrap.pre_instrument()
print("alive")
"""
    assert run(tmp_path, HEAD + script) == "alive"


def test_disabled(tmp_path):
    """Where OpenTelemetry is turned off so are we."""
    assert run(tmp_path, HEAD + "otel_usage.install()\nprint(bootstrap._installed)", OTEL_SDK_DISABLED="true") == "None"
