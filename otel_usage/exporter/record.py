"""UsageRecord: one request span as one row to be.

Every way into the store passes here, and the bounds of the columns are kept here. How a line is written is the
journal's, how it becomes a row is the store's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from otel_usage import attributes as key
from otel_usage.enrichment import privacy
from otel_usage.enrichment.span_attributes import first, path_and_query, text
from otel_usage.enrichment.text import as_sent

MAX_VALUE_BYTES: Final = 8 * 1024
MAX_LINE_BYTES: Final = 256 * 1024
# Of sets of attribute names; an application may make names of what it likes.
_MAX_PLANS: Final = 256
_INT64_MAX: Final = (1 << 63) - 1
# DuckDB's TIMESTAMP reaches further; a clock that says anything else is wrong.
_MIN_MICROSECONDS: Final = -62_135_596_800_000_000  # 0001-01-01
_MAX_MICROSECONDS: Final = 253_402_300_799_999_999  # 9999-12-31

BigInt = Annotated[int, msgspec.Meta(ge=-_INT64_MAX - 1, le=_INT64_MAX)]
# msgspec takes no bound above int64; DuckDB refuses what is longer.
UBigInt = Annotated[int, msgspec.Meta(ge=0)]
SmallInt = Annotated[int, msgspec.Meta(ge=-32768, le=32767)]
Microseconds = Annotated[int, msgspec.Meta(ge=_MIN_MICROSECONDS, le=_MAX_MICROSECONDS)]
TraceId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class UsageRecord(msgspec.Struct, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One request; the fields are the columns of `requests` in their order, without `segment_id`.

    `start_time` is microseconds since 1970 in UTC, the floor of nanoseconds / 1000; `trace_id` 32 lower-case
    hexadecimal digits; None is NULL and is left out of the line.
    """

    start_time: Microseconds
    duration_ns: BigInt
    trace_id: TraceId
    span_id: UBigInt
    parent_span_id: UBigInt | None = None
    service_name: str | None = None
    service_namespace: str | None = None
    service_version: str | None = None
    service_instance_id: str | None = None
    environment: str | None = None
    host: str | None = None
    method: str | None = None
    route: str | None = None
    path: str | None = None
    query: str | None = None
    scheme: str | None = None
    protocol_version: str | None = None
    status_code: SmallInt | None = None
    error_type: str | None = None
    request_bytes: BigInt | None = None
    response_bytes: BigInt | None = None
    client_address: str | None = None
    country: str | None = None
    user_agent: str | None = None
    referrer: str | None = None
    token_id: str | None = None
    token_name: str | None = None
    token_scheme: str | None = None
    token_hint: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    user_source: str | None = None
    session_id: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    resource_name: str | None = None
    resource_parent_type: str | None = None
    resource_parent_id: str | None = None
    action: str | None = None
    operation: str | None = None
    sampled: bool | None = None
    attributes: dict[str, str] | None = None


# Column -> type in the journal as DuckDB reads it; `start_time` becomes a TIMESTAMP in the commit.
JOURNAL_COLUMNS: Final[Mapping[str, str]] = {
    name: {
        "start_time": "BIGINT",
        "duration_ns": "BIGINT",
        "trace_id": "UUID",
        "span_id": "UBIGINT",
        "parent_span_id": "UBIGINT",
        "status_code": "SMALLINT",
        "request_bytes": "BIGINT",
        "response_bytes": "BIGINT",
        "sampled": "BOOLEAN",
        "attributes": "MAP(VARCHAR, VARCHAR)",
    }.get(name, "VARCHAR")
    for name in UsageRecord.__struct_fields__
}

# What tells one request from another: `random.seed()` in an application makes span ids repeat.
KEY: Final = ("start_time", "duration_ns", "trace_id", "span_id")

Count = Callable[[str], None]

# Columns that take an attribute's text, and its names from the newest convention to the oldest.
_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "host": key.HOST_KEYS,
    "method": key.METHOD_KEYS,
    "route": (key.HTTP_ROUTE,),
    "scheme": key.SCHEME_KEYS,
    "protocol_version": key.PROTOCOL_VERSION_KEYS,
    "error_type": (key.ERROR_TYPE,),
    "client_address": key.CLIENT_ADDRESS_KEYS,
    "country": (key.COUNTRY,),
    "user_agent": key.USER_AGENT_KEYS,
    "referrer": (key.REFERER,),
    "token_id": (key.TOKEN_ID,),
    "token_name": (key.TOKEN_NAME,),
    "token_scheme": (key.TOKEN_SCHEME,),
    "token_hint": (key.TOKEN_HINT,),
    "user_id": key.USER_ID_KEYS,
    "user_name": (key.USER_NAME,),
    "user_source": (key.USER_SOURCE,),
    "session_id": (key.SESSION_ID,),
    "resource_type": (key.RESOURCE_TYPE,),
    "resource_id": (key.RESOURCE_ID,),
    "resource_name": (key.RESOURCE_NAME,),
    "resource_parent_type": (key.RESOURCE_PARENT_TYPE,),
    "resource_parent_id": (key.RESOURCE_PARENT_ID,),
    "action": (key.ACTION,),
    "operation": (key.OPERATION,),
}
_ONLY_TEXT: Final = frozenset((str,))

# Told by a column, or by nothing anybody asks for: a peer's port is another one on every connection.
_CONSUMED: Final = frozenset(
    (
        *key.TOKEN_KEYS,
        *key.RESOURCE_KEYS,
        key.USER_SOURCE,
        key.ACTION,
        key.OPERATION,
        key.SAMPLED,
        key.USER_NAME,
        key.SESSION_ID,
        key.ERROR_TYPE,
        key.COUNTRY,
        key.REFERER,
        key.HTTP_ROUTE,
        key.HTTP_METHOD_ORIGINAL,
        key.PATH_KEY,
        key.QUERY_KEY,
        *key.METHOD_KEYS,
        *key.STATUS_KEYS,
        *key.TARGET_KEYS,
        *key.URL_KEYS,
        *key.SCHEME_KEYS,
        *key.PROTOCOL_VERSION_KEYS,
        *key.HOST_KEYS,
        *key.CLIENT_ADDRESS_KEYS,
        *key.CLIENT_PORT_KEYS,
        *key.USER_AGENT_KEYS,
        *key.REQUEST_BYTES_KEYS,
        *key.RESPONSE_BYTES_KEYS,
        *key.USER_ID_KEYS,
    )
)


@dataclass(slots=True)
class SpanFacts:
    """What identifies a span and when it was; ids as the API's integers, times in nanoseconds since 1970."""

    trace_id: int
    span_id: int
    parent_span_id: int | None
    start_time_ns: int
    end_time_ns: int


@dataclass(frozen=True, slots=True)
class Service:
    """The columns that an OTel resource fills: the same for every request of a process."""

    name: str | None
    namespace: str | None
    version: str | None
    instance_id: str | None
    environment: str | None


def service_of(otel_resource: Mapping[str, Any]) -> Service:
    """The service columns of an OTel resource's attributes."""
    return Service(
        name=text(otel_resource.get(key.SERVICE_NAME)),
        namespace=text(otel_resource.get(key.SERVICE_NAMESPACE)),
        version=text(otel_resource.get(key.SERVICE_VERSION)),
        instance_id=text(otel_resource.get(key.SERVICE_INSTANCE_ID)),
        environment=text(first(otel_resource, key.ENVIRONMENT_KEYS)),
    )


def from_span(
    span: SpanFacts, attributes: Mapping[str, Any], service: Service, *, privacy_level: int, count: Count
) -> UsageRecord | None:
    """The record of a SERVER span, from its attributes under old or new names.

    Args:
        span: Its ids and times.
        attributes: The span's attributes, with what the processor knows besides laid over them.
        service: From its OTel resource.
        privacy_level: As in the settings; client addresses and queries are cut here, for every way in.
        count: Called with a reason of `losses` for each value that had to be changed to fit its column.

    Returns:
        None if the span is no HTTP request: it has no method under any name.
    """
    plan = _plan(tuple(attributes), privacy_level)
    told = plan.told(attributes, privacy_level)
    if "method" not in told:
        return None
    if key.HTTP_METHOD_ORIGINAL in attributes:
        told["method"] = text(attributes[key.HTTP_METHOD_ORIGINAL]) or told["method"]
    _keep_less(told, privacy_level)
    path, query = path_and_query(attributes)
    return UsageRecord(
        start_time=_clamp(span.start_time_ns // 1000, _MIN_MICROSECONDS, _MAX_MICROSECONDS, count),
        duration_ns=_clamp(span.end_time_ns - span.start_time_ns, 0, _INT64_MAX, count),
        trace_id=f"{span.trace_id:032x}",
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        service_name=service.name,
        service_namespace=service.namespace,
        service_version=service.version,
        service_instance_id=service.instance_id,
        environment=service.environment,
        path=path,
        query=privacy.redact_query(query) if query else None,
        status_code=_integer(first(attributes, key.STATUS_KEYS), 0, 32767, count),
        request_bytes=_size(first(attributes, key.REQUEST_BYTES_KEYS), count),
        response_bytes=_size(first(attributes, key.RESPONSE_BYTES_KEYS), count),
        sampled=_boolean(attributes.get(key.SAMPLED)),
        attributes=plan.left_over(attributes),
        **told,
    )


class _Plan:
    """Which attributes tell which columns, and which are left over: their names decide it, and are seldom new.

    Args:
        names: Of all attributes.
        privacy_level: As in the settings.
    """

    __slots__ = ("_columns", "_left", "_names")

    def __init__(self, names: tuple[str, ...], privacy_level: int) -> None:
        told: dict[str, str] = {}
        for column, known in _TEXTS.items():
            told.update((column, name) for name in reversed(known) if name in names)
        self._columns, self._names = tuple(told), tuple(told.values())
        self._left = tuple(name for name in names if _is_left(name, privacy_level))

    def told(self, attributes: Mapping[str, Any], privacy_level: int) -> dict[str, Any]:
        """The columns of `_TEXTS`."""
        told = dict(zip(self._columns, map(attributes.__getitem__, self._names), strict=True))
        values = told.values()
        if all(values) and _ONLY_TEXT.issuperset(map(type, values)):
            return told
        present = {name: value for name, value in attributes.items() if value is not None}
        if len(present) < len(attributes):
            return _plan(tuple(present), privacy_level).told(present, privacy_level)
        return {column: shown for column, value in told.items() if (shown := text(value)) is not None}

    def left_over(self, attributes: Mapping[str, Any]) -> dict[str, str] | None:
        """What no column tells, as text."""
        kept: dict[str, str] = {}
        for name in self._left:
            told = text(attributes[name])
            if told is not None:
                kept[name] = privacy.redact_url(told)
        return kept or None


_plan: Final = lru_cache(maxsize=_MAX_PLANS)(_Plan)


def _is_left(name: str, privacy_level: int) -> bool:
    """Whether no column tells it, and it is kept: no credential and, above level 0, no address."""
    if name in _CONSUMED or privacy.is_sensitive_key(name):
        return False
    return privacy_level == 0 or not name.startswith(key.FORWARDED_HEADERS)


def _keep_less(told: dict[str, Any], privacy_level: int) -> None:
    """Keep of addresses what may be kept, and of headers what was meant."""
    if "host" in told:
        told["host"] = _host(told["host"])
    if "client_address" in told:
        told["client_address"] = privacy.truncate_address(told["client_address"], privacy_level)
    if privacy_level >= 2:
        told.pop("country", None)
    if "user_agent" in told:
        told["user_agent"] = as_sent(told["user_agent"])
    if "referrer" in told:
        told["referrer"] = privacy.redact_url(as_sent(told["referrer"]))


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any, low: int, high: int, count: Count) -> int | None:
    """A whole number in the column's range; None for what is none."""
    if value.__class__ is int and low <= value <= high:
        return value
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return _clamp(number, low, high, count)


def _clamp(number: int, low: int, high: int, count: Count) -> int:
    if low <= number <= high:
        return number
    count("number_clamped")
    return min(max(number, low), high)


def _size(value: Any, count: Count) -> int | None:
    """A body size in bytes; proxies write -1 for unknown."""
    number = _integer(value, -1, _INT64_MAX, count)
    return None if number == -1 else number


def _host(host: str | None) -> str | None:
    """The name without its port, which Python's instrumentations leave in `server.address`."""
    if host is None or ":" not in host:
        return host
    if host.startswith("["):
        return host[1:].partition("]")[0] or None
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and ":" not in name else host
