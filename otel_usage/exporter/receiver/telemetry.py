"""Where the receiver's own metrics go: the meter provider that the standard `OTEL_*` variables describe, or none.

Only metrics: the receiver makes no spans of its own, which would come back to it.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final
from uuid import uuid4

from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_usage import attributes as key
from otel_usage.errors import ConfigurationError

_GROUP: Final = "opentelemetry_metrics_exporter"
_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_SERVICE_NAME: Final = "otel-usage-collect"


def exporters(environ: Mapping[str, str]) -> tuple[Callable[[], Any], ...]:
    """What OTEL_METRICS_EXPORTER names, imported; nothing where it is unset.

    Raises:
        ConfigurationError: One of them is not installed, or serves metrics itself.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    names = [name.strip() for name in environ.get("OTEL_METRICS_EXPORTER", "").split(",")]
    return tuple(_load(name, environ) for name in names if name not in ("", "none"))


def start(makers: tuple[Callable[[], Any], ...]) -> Callable[[], None]:
    """Send metrics of this process from now on, to where `exporters` says.

    Returns:
        What sends the last ones and ends it.
    """
    if not makers:
        return lambda: None
    provider = MeterProvider([_reader(make) for make in makers], resource=_resource())
    set_meter_provider(provider)
    return provider.shutdown


def _load(name: str, environ: Mapping[str, str]) -> Callable[[], Any]:
    if name == "prometheus":
        raise ConfigurationError(
            "OTEL_METRICS_EXPORTER = 'prometheus' would serve the metrics of one worker.",
            "Unset it, and scrape GET /metrics of the receiver: it tells those of all workers.",
        )
    for candidate in _candidates(name, environ):
        for entry_point in entry_points(group=_GROUP, name=candidate):
            made: Callable[[], Any] = entry_point.load()
            return made
    hint = "Run: pip install opentelemetry-exporter-otlp-proto-http" if name == "otlp" else "Correct the variable."
    raise ConfigurationError(f"OTEL_METRICS_EXPORTER = {name!r} is not installed.", hint)


def _candidates(name: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    if name != "otlp":
        return (name,)
    told = environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    # Told nothing, OpenTelemetry's Python takes gRPC.
    return tuple(_PROTOCOLS.values()) if not told else (_PROTOCOLS.get(told.strip(), told),)


def _reader(make: Callable[[], Any]) -> MetricReader:
    made = make()
    return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)


def _resource() -> Resource:
    """Each worker is an instance of its own: their counters are added up, not taken for one that jumps."""
    said = Resource.create()
    own = {key.SERVICE_INSTANCE_ID: str(uuid4())}
    if str(said.attributes.get(key.SERVICE_NAME, "")).startswith("unknown_service"):
        own[key.SERVICE_NAME] = _SERVICE_NAME
    return said.merge(Resource(own))
