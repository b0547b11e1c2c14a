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


COUNTED = """
from opentelemetry.sdk.trace import TracerProvider
kept = []
bootstrap._Installation._keep = lambda self, request: kept.append(request)

def ask(tracer):
    kept.clear()
    tracer.start_span("GET /", kind=trace.SpanKind.SERVER, attributes={"http.method": "GET"}).end()
    return len(kept)
"""


def test_again_after_the_application_has_set_a_provider(tmp_path):
    """Tracers from before the provider are seen by each installation while it lasts."""
    script = """
otel_usage.install()
tracer = trace.get_tracer("early")
trace.set_tracer_provider(TracerProvider())
counts = [ask(tracer)]
otel_usage.uninstall()
counts.append(ask(tracer))
otel_usage.install()
print([*counts, ask(tracer)])
"""
    assert run(tmp_path, HEAD + COUNTED + script) == "[1, 0, 1]"


def test_given_provider_makes_the_spans_of_wrapped_applications(tmp_path):
    """What nobody instruments has its spans from the provider that is followed."""
    script = """
from wsgiref.util import setup_testing_defaults
otel_usage.install(tracer_provider=TracerProvider())
environ = {}
setup_testing_defaults(environ)
app = otel_usage.wrap_wsgi(lambda environ, start_response: start_response("200 OK", []) or [b""])
list(app(environ, lambda *_: None))
print(len(kept))
"""
    assert run(tmp_path, HEAD + COUNTED + script) == "1"


def test_at_once_in_several_threads(tmp_path):
    """There is one installation, and nothing is left of any other."""
    script = """
import sys
from threading import Barrier, Thread
from opentelemetry.sdk.trace import Tracer
sys.setswitchinterval(1e-6)
original, barrier = Tracer.start_span, Barrier(4)

def install():
    barrier.wait()
    otel_usage.install()

threads = [Thread(target=install) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
otel_usage.uninstall()
print(Tracer.start_span is original)
"""
    assert run(tmp_path, HEAD + script) == "True"


def test_the_api_has_changed(tmp_path):
    """Without the API's private name that a stand-in needs, the application goes on without one."""
    script = """
del trace._set_tracer_provider
otel_usage.install()
print(type(trace.get_tracer_provider()).__name__)
"""
    assert run(tmp_path, HEAD + script) == "ProxyTracerProvider"
