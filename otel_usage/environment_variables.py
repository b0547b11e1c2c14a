"""What the `opentelemetry-instrument` launcher imports first: our flags, and exporters that exist.

Each constant becomes a launcher flag (`--usage_database`). The deployment key and the headers have none: command lines
are public.

This module is the package's one import-time side effect. With a distribution such as opentelemetry-distro the
launcher asks for the OTLP exporter by default, over gRPC unless another protocol is named, and instruments nothing at
all where that very package is missing; so where no exporter was asked for and that one is not installed, "none" is
said in its place.
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
        if variable not in os.environ and not _is_installed(signal):
            os.environ[variable] = "none"


def _is_installed(signal: str) -> bool:
    """Whether there is the exporter that `otlp` means for a signal, as the SDK's configuration finds it."""
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    name = "otlp_proto_http" if protocol.strip().startswith("http") else "otlp_proto_grpc"
    return bool(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))


_default_missing_exporters()
