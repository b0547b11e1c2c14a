"""What the `opentelemetry-instrument` launcher imports first: our flags, and exporters that exist.

Each constant becomes a launcher flag (`--usage_database`). The deployment key has none: command lines are public.

This module is the package's one import-time side effect. With a distribution such as opentelemetry-distro the
launcher asks for the OTLP exporter by default, and instruments nothing at all where that package is missing; so
where no OTLP exporter is installed and none was asked for, "none" is said in its place.
"""

import os
from importlib.metadata import entry_points

OTEL_USAGE_DATABASE = "OTEL_USAGE_DATABASE"
OTEL_USAGE_CONFIG = "OTEL_USAGE_CONFIG"
OTEL_USAGE_EXPORTER = "OTEL_USAGE_EXPORTER"
OTEL_USAGE_ENDPOINT = "OTEL_USAGE_ENDPOINT"
OTEL_USAGE_COMMIT_INTERVAL = "OTEL_USAGE_COMMIT_INTERVAL"
OTEL_USAGE_JOURNAL_MAX_BYTES = "OTEL_USAGE_JOURNAL_MAX_BYTES"
OTEL_USAGE_TOKEN_KEY_FILE = "OTEL_USAGE_TOKEN_KEY_FILE"
OTEL_USAGE_ANONYMOUS = "OTEL_USAGE_ANONYMOUS"
OTEL_USAGE_PRIVACY_LEVEL = "OTEL_USAGE_PRIVACY_LEVEL"


def _default_missing_exporters() -> None:
    for signal in ("traces", "metrics", "logs"):
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        installed = entry_points(group=f"opentelemetry_{signal}_exporter")
        if variable not in os.environ and not any(entry.name.startswith("otlp") for entry in installed):
            os.environ[variable] = "none"


_default_missing_exporters()
