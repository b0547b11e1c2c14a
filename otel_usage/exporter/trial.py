"""The trial request: a span like that of any application's request, and the marks by which its record is known again.

It takes the very way of requests: nothing on that way may tell it from one. How it is sent, and what its way means, is
the doctor's.
"""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_usage import __version__
from otel_usage import attributes as key
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.removal import RowKey, keys_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SERVICE_NAME: Final = "otel-usage-doctor"
_FOLDER: Final = "/.otel-usage/doctor"
# Not that of our own copies, which are taken as they are.
_SCOPE_NAME: Final = "otel_usage.doctor"
_DURATION_NS: Final = 1_000_000
_SERVER: Final = 2
# A span of a sampled trace: what is told of it must not depend on samplers.
_SAMPLED_FLAG: Final = 1
# Of clocks that are set back, and of file systems with coarse times.
_SLACK_SECONDS: Final = 5.0
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial request, with a key of its own.

    Attributes:
        start_time_ns: When it was made, in nanoseconds since 1970.
        until: When it is given up, in whole seconds since 1970; its row is nobody's after that.
        token: A credential that opens nothing, made for it; None for none.
    """

    trace_id: int
    span_id: int
    start_time_ns: int
    until: int
    token: str | None = field(repr=False)

    @classmethod
    def new(cls, seconds: float, *, token: str | None) -> "Trial":
        """A trial request that is waited for so long."""
        now = time.time_ns()
        until = int(now / 1e9 + seconds) + 1
        return cls(secrets.randbits(128) | 1, secrets.randbits(64) | 1, now, until, token)

    @property
    def key(self) -> RowKey:
        """Of its row."""
        return RowKey(self.start_time_ns // 1000, _DURATION_NS, f"{self.trace_id:032x}", self.span_id)

    def body(self) -> bytes:
        """The OTLP request that carries it, in JSON."""
        headers = {} if self.token is None else {key.HEADER_PREFIXES[0] + "authorization": [f"Bearer {self.token}"]}
        attributes = {
            "http.request.method": "GET",
            "http.route": f"{_FOLDER}/{{until}}/{{trial}}",
            "http.response.status_code": 200,
            "url.scheme": "http",
            "url.path": f"{_FOLDER}/{self.until}/{self.trace_id:032x}",
            "user_agent.original": f"{SERVICE_NAME}/{__version__}",
            # Requests without a token may be left out where they are anonymous too.
            "user.id": SERVICE_NAME,
            **headers,
        }
        span = {
            "traceId": f"{self.trace_id:032x}",
            "spanId": f"{self.span_id:016x}",
            "flags": _SAMPLED_FLAG,
            "name": f"GET {_FOLDER}",
            "kind": _SERVER,
            "startTimeUnixNano": str(self.start_time_ns),
            "endTimeUnixNano": str(self.start_time_ns + _DURATION_NS),
            "attributes": _attributes(attributes),
        }
        scope = {"scope": {"name": _SCOPE_NAME}, "spans": [span]}
        resource = {"attributes": _attributes({key.SERVICE_NAME: SERVICE_NAME})}
        return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}).encode()

    def journal_line(self, paths: StorePaths) -> bytes | None:
        """Its line in the journal of a store; None if it is not, or no longer, there.

        Raises:
            OSError: The journal cannot be read.
        """
        for _ in range(_ATTEMPTS):
            line, is_sure = self._search(paths.segments())
            if line is not None or is_sure:
                return line
        return None

    def _search(self, segments: Sequence[Path]) -> tuple[bytes | None, bool]:
        """Its line, and whether all segments were looked at: one that is finished meanwhile gets another name."""
        mark = self.key.trace_id.encode()
        is_sure = True
        for path in segments:
            try:
                if path.stat().st_mtime < self.start_time_ns / 1e9 - _SLACK_SECONDS:
                    continue
                data = path.read_bytes()
            except FileNotFoundError:
                is_sure = False
                continue
            if (at := data.find(mark)) >= 0:
                return data[data.rfind(b"\n", 0, at) + 1 : data.find(b"\n", at)], True
        return None, is_sure


def left_behind(connection: "DuckDBPyConnection", now: float) -> list[RowKey]:
    """The rows of trial requests that nobody waits for any more: they came late, or could not be removed."""
    condition = (
        "service_name = ? AND starts_with(path, ?) AND try_cast(split_part(path, '/', 4) AS BIGINT) < ?"
        " AND duration_ns = ?"
    )
    return keys_of(connection, condition, [SERVICE_NAME, f"{_FOLDER}/", int(now), _DURATION_NS])


def new_token() -> str:
    """A credential that opens nothing."""
    return f"{SERVICE_NAME}-{secrets.token_hex(16)}"


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: str | int | Sequence[str]) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"arrayValue": {"values": [_value(each) for each in value]}}
