"""Other tools beside us, each set up as its documentation says; the variable `COMPANY` names the one.

What a tool gets goes to the file `seen`, a line for each, and nowhere else.
"""

import importlib
import json
import os
from pathlib import Path

COMPANY = os.environ["COMPANY"]
SEEN = Path(os.environ["SITE_DIRECTORY"]) / "seen"


def before():
    """What the tools want done before the application is made."""
    match COMPANY:
        case "sentry":
            sentry()
        case "sentry opentelemetry":
            from sentry_sdk.integrations.opentelemetry.integration import OpenTelemetryIntegration

            sentry(integrations=[OpenTelemetryIntegration()])
        case "install, logfire" | "install, own provider":
            install()


def after(app, framework):
    """What the tools want done with the application."""
    match COMPANY:
        case "logfire" | "install, logfire":
            logfire(app, framework)
        case "logfire, install":
            logfire(app, framework)
            install()
        case "install, own provider":
            own_provider(app, framework)
        case "own provider, install":
            own_provider(app, framework)
            install()
        case "concurrent processors, install":
            from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor

            own_provider(app, framework, active_span_processor=ConcurrentMultiSpanProcessor(2))
            install()
        case "sentry, uninstall":
            sentry()
            uninstall()
        case "sentry, uninstall, install":
            sentry()
            uninstall()
            install()


def install():
    import otel_usage

    otel_usage.install()


def uninstall():
    import otel_usage

    otel_usage.uninstall()


def note(kind):
    with SEEN.open("a") as file:
        file.write(json.dumps(kind) + "\n")


def to_file():
    """A span processor whose exporter notes the kind of each span, less those that logfire exports as they start."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class ToFile(SpanExporter):
        def export(self, spans):
            for span in spans:
                if span.attributes.get("logfire.span_type") != "pending_span":
                    note(span.kind.name)
            return SpanExportResult.SUCCESS

    return SimpleSpanProcessor(ToFile())


def logfire(app, framework):
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[to_file()])
    getattr(logfire, f"instrument_{framework}")(app)


def own_provider(app, framework, **options):
    """A provider that nobody but the instrumentation of this application knows of."""
    from opentelemetry.sdk.trace import TracerProvider

    instrumentation = importlib.import_module(f"opentelemetry.instrumentation.{framework}")
    instrumentor = {"flask": "FlaskInstrumentor", "fastapi": "FastAPIInstrumentor"}[framework]
    provider = TracerProvider(**options)
    provider.add_span_processor(to_file())
    getattr(instrumentation, instrumentor)().instrument_app(app, tracer_provider=provider)


def sentry(**options):
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class ToFile(Transport):
        def capture_envelope(self, envelope):
            for item in envelope.items:
                note(item.type)

    sentry_sdk.init(dsn="http://public@127.0.0.1:9/1", transport=ToFile, traces_sample_rate=1.0, **options)
