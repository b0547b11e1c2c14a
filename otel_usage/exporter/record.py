"""UsageRecord: one request span as one row to be.

Every way into the store passes here, and the bounds of the columns are kept here. How a line is written is the
journal's, how it becomes a row is the store's.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from otel_usage import attributes as key
from otel_usage.enrichment import privacy
from otel_usage.enrichment.span_attributes import first, path_and_query, text
from otel_usage.enrichment.text import as_sent, bounded

MAX_VALUE_BYTES: Final = 8 * 1024
MAX_LINE_BYTES: Final = 256 * 1024
# Of sets of attribute names; an application may make names of what it likes.
_MAX_PLANS: Final = 256
_MAX_NAMES: Final = 128
# Of a service's name and the like, which stand in each of its records.
_MAX_SERVICE_LENGTH: Final = 256
_INT64_MAX: Final = (1 << 63) - 1
_MAX_STATUS: Final = (1 << 15) - 1
# DuckDB's TIMESTAMP reaches further; a clock that says anything else is wrong.
_MIN_MICROSECONDS: Final = -62_135_596_800_000_000  # 0001-01-01
_MAX_MICROSECONDS: Final = 253_402_300_799_999_999  # 9999-12-31

BigInt = Annotated[int, msgspec.Meta(ge=-_INT64_MAX - 1, le=_INT64_MAX)]
# msgspec takes no bound above int64; DuckDB refuses what is longer.
UBigInt = Annotated[int, msgspec.Meta(ge=0)]
SmallInt = Annotated[int, msgspec.Meta(ge=-32768, le=32767)]
Microseconds = Annotated[int, msgspec.Meta(ge=_MIN_MICROSECONDS, le=_MAX_MICROSECONDS)]
TraceId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class UsageRecord(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
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

# Told by a column, or by nothing anybody asks for: a peer's port is another one on every connection.
_CONSUMED: Final = frozenset(
    (
        *key.TOKEN_KEYS,
        *key.RESOURCE_KEYS,
        key.USER_SOURCE,
        key.ACTION,
        key.OPERATION,
        key.SAMPLED,
        key.FORWARDED,
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


class SpanFacts(msgspec.Struct, gc=False):
    """What identifies a span and when it was; ids as the API's integers, times in nanoseconds since 1970."""

    trace_id: int
    span_id: int
    parent_span_id: int | None
    start_time_ns: int
    end_time_ns: int


class Service(NamedTuple):
    """The columns that an OTel resource fills, in their order: the same for every request of a process."""

    name: str | None
    namespace: str | None
    version: str | None
    instance_id: str | None
    environment: str | None


def service_of(otel_resource: Mapping[str, Any]) -> Service:
    """The service columns of an OTel resource's attributes."""
    return Service(
        name=_short(otel_resource.get(key.SERVICE_NAME)),
        namespace=_short(otel_resource.get(key.SERVICE_NAMESPACE)),
        version=_short(otel_resource.get(key.SERVICE_VERSION)),
        instance_id=_short(otel_resource.get(key.SERVICE_INSTANCE_ID)),
        environment=_short(first(otel_resource, key.ENVIRONMENT_KEYS)),
    )


def _short(value: Any) -> str | None:
    told = text(value)
    return None if told is None else bounded(told, _MAX_SERVICE_LENGTH)


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
    names = tuple(attributes)
    plan = (_plan if len(names) <= _MAX_NAMES else _Plan)(names, privacy_level)
    start, duration = span.start_time_ns // 1000, span.end_time_ns - span.start_time_ns
    trace_id = f"{span.trace_id:032x}"
    # By position: naming forty columns one by one costs more than all that is looked at in them.
    row = [start, duration, trace_id, span.span_id, span.parent_span_id, *service, *_UNKNOWN]
    for place, name, clean in plan.texts:
        value = attributes[name]
        if value.__class__ is not str or not value:
            if value is None:
                present = {name: value for name, value in attributes.items() if value is not None}
                return from_span(span, present, service, privacy_level=privacy_level, count=count)
            value = text(value)
        row[place] = value if clean is None or value is None else clean(value)
    if row[_METHOD] is None:
        return None
    if not (_MIN_MICROSECONDS <= start <= _MAX_MICROSECONDS and 0 <= duration <= _INT64_MAX):
        row[0] = _clamp(start, _MIN_MICROSECONDS, _MAX_MICROSECONDS, count)
        row[1] = _clamp(duration, 0, _INT64_MAX, count)
    path, query = path_and_query(attributes)
    row[_PATH] = path and _without_secrets(path)
    if query:
        row[_QUERY] = privacy.redact_query(query)
    for place, known, most, convert in plan.numbers:
        value = attributes[known[0]]
        if value.__class__ is not int or not 0 <= value <= most:
            value = convert(first(attributes, known), count)
        row[place] = value
    if key.SAMPLED in attributes:
        row[_SAMPLED] = _boolean(attributes[key.SAMPLED])
    if plan.left:
        row[_ATTRIBUTES] = plan.left_over(attributes)
    if key.HTTP_METHOD_ORIGINAL in attributes:
        row[_METHOD] = text(attributes[key.HTTP_METHOD_ORIGINAL]) or row[_METHOD]
    return UsageRecord(*row)


_COLUMNS: Final = UsageRecord.__struct_fields__
# Behind those that the span and its service always tell.
_UNKNOWN: Final[list[Any]] = [None] * (len(_COLUMNS) - _COLUMNS.index("environment") - 1)
_METHOD, _PATH, _QUERY, _SAMPLED, _ATTRIBUTES = map(
    _COLUMNS.index, ("method", "path", "query", "sampled", "attributes")
)


def _without_secrets(path: str) -> str:
    return privacy.redact_url(path) if "@" in path or "=" in path else path


class _Plan:
    """Which attributes tell which columns, and which are left over: their names decide it, and are seldom new.

    Args:
        names: Of all attributes.
        privacy_level: As in the settings.

    Attributes:
        texts: Place of each column of `_TEXTS` that is told, the name of the attribute, and what is kept of it.
        numbers: Place of each number that is told, its names from the newest convention to the oldest, how large it is
            at most, and what makes a number of anything else.
        left: What no column tells, and is kept.
    """

    __slots__ = ("left", "numbers", "texts")

    def __init__(self, names: tuple[str, ...], privacy_level: int) -> None:
        told: dict[str, str] = {}
        for column, known in _TEXTS.items():
            told.update((column, name) for name in reversed(known) if name in names)
        cleaned: dict[str, Callable[[str], str | None]] = {
            **_CLEANED,
            "client_address": lambda address: privacy.truncate_address(address, privacy_level),
        }
        if privacy_level >= 2:
            told.pop("country", None)
        self.texts = tuple((_COLUMNS.index(column), name, cleaned.get(column)) for column, name in told.items())
        self.numbers = tuple(
            (_COLUMNS.index(column), found, most, convert)
            for column, known, most, convert in _NUMBERS
            if (found := tuple(name for name in known if name in names))
        )
        self.left = tuple(name for name in names if _is_left(name, privacy_level))

    def left_over(self, attributes: Mapping[str, Any]) -> dict[str, str] | None:
        """What no column tells, as text."""
        kept: dict[str, str] = {}
        for name in self.left:
            value = attributes[name]
            told = text(value)
            if told is not None:
                kept[name] = told if value.__class__ is int else privacy.redact_url(told)
        return kept or None


_plan: Final = lru_cache(maxsize=_MAX_PLANS)(_Plan)


def _is_left(name: str, privacy_level: int) -> bool:
    """Whether no column tells it, and it is kept: no credential and, above level 0, no address."""
    if name in _CONSUMED or privacy.is_sensitive_key(name):
        return False
    return privacy_level == 0 or not name.startswith(key.FORWARDED_HEADERS)


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


def _status(value: Any, count: Count) -> int | None:
    return _integer(value, 0, _MAX_STATUS, count)


def _size(value: Any, count: Count) -> int | None:
    """A body size in bytes; proxies write -1 for unknown."""
    number = _integer(value, -1, _INT64_MAX, count)
    return None if number == -1 else number


def _host(host: str) -> str | None:
    """The name without its port, which Python's instrumentations leave in `server.address`, and without userinfo."""
    if "@" in host:
        host = host.rpartition("@")[2]
    if ":" not in host:
        return host or None
    if host.startswith("["):
        return host[1:].partition("]")[0] or None
    name, _, port = host.rpartition(":")
    return name if port.isdigit() and ":" not in name else host


def _referrer(referrer: str) -> str:
    return privacy.redact_url(as_sent(referrer))


# Column -> what is kept of its text, and of headers what was meant.
_CLEANED: Final[Mapping[str, Callable[[str], str | None]]] = {
    "host": _host,
    "route": _without_secrets,
    "user_agent": as_sent,
    "referrer": _referrer,
}
_NUMBERS: Final = (
    ("status_code", key.STATUS_KEYS, _MAX_STATUS, _status),
    ("request_bytes", key.REQUEST_BYTES_KEYS, _INT64_MAX, _size),
    ("response_bytes", key.RESPONSE_BYTES_KEYS, _INT64_MAX, _size),
)
