"""UsageRecord -> one line of the journal, within its bounds.

The common record is encoded once and looked at no more; only one that is long, or that the encoder refuses, is
repaired value by value. What the line is written to is not known here.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from otel_usage.exporter.losses import ENCODE_ERROR, NUMBER_CLAMPED, TEXT_REPLACED, VALUE_TRUNCATED
from otel_usage.exporter.record import MAX_LINE_BYTES, MAX_VALUE_BYTES, UsageRecord
from otel_usage.exporter.scrubbing import holds, scrub

Count = Callable[[str, int], None]

# Even if every byte of every value needs six characters of JSON, a line of such values is within its bound.
_LAST_RESORT_BYTES: Final = 1024
_INT64_MAX: Final = (1 << 63) - 1
_UINT64_MAX: Final = (1 << 64) - 1
_BIGINT: Final = (-_INT64_MAX - 1, _INT64_MAX)
_RANGES: Final = {
    "start_time": (-62_135_596_800_000_000, 253_402_300_799_999_999),
    "duration_ns": _BIGINT,
    "span_id": (0, _UINT64_MAX),
    "parent_span_id": (0, _UINT64_MAX),
    "status_code": (-32768, 32767),
    "request_bytes": _BIGINT,
    "response_bytes": _BIGINT,
}
_encode: Final = msgspec.json.Encoder().encode


def encode_line(record: UsageRecord, count: Count, secrets: tuple[str, ...] = ()) -> bytes | None:
    """The record as one JSON line with its newline.

    A number out of its column's range is clamped and lone surrogates are replaced, in the record itself; a value
    beyond 8 KiB of UTF-8 is cut at a character; a line beyond 256 KiB loses `attributes`, then more of its
    values.

    Args:
        record: Changed where it does not fit.
        count: Called with a reason of `losses` and how many values it concerns.
        secrets: What must not be in it; removed before a value is cut, which might leave a part of them.

    Returns:
        None if it cannot be encoded at all, which is counted as `encode_error`.
    """
    try:
        if not _numbers_fit(record):
            _clamp(record, count)
        line = _encode_text(record, count, secrets)
    except Exception:  # an application's attribute may be of any type; the request must not suffer
        count(ENCODE_ERROR, 1)
        return None
    return line + b"\n"


def encode_clean_line(record: UsageRecord, count: Count, secrets: tuple[str, ...]) -> bytes | None:
    """`encode_line`, and none of these raw credentials is in the line, wherever in the record they stood."""
    line = encode_line(record, count, secrets)
    if secrets and line is not None and holds(line, secrets):
        scrub(record, secrets)
        line = encode_line(record, count)
    return line


def _encode_text(record: UsageRecord, count: Count, secrets: tuple[str, ...]) -> bytes:
    try:
        line = _encode(record)
    except UnicodeEncodeError:  # lone surrogates
        line = b""
    if line and len(line) <= MAX_VALUE_BYTES:
        return line
    if secrets:
        scrub(record, secrets)
    _repair(record, MAX_VALUE_BYTES, count)
    line = _encode(record)
    if len(line) > MAX_LINE_BYTES and record.attributes is not None:
        count(VALUE_TRUNCATED, len(record.attributes))
        record.attributes = None
        line = _encode(record)
    if len(line) > MAX_LINE_BYTES:
        _repair(record, _LAST_RESORT_BYTES, count)
        line = _encode(record)
    return line


def _numbers_fit(record: UsageRecord) -> bool:
    return (
        -62_135_596_800_000_000 <= record.start_time <= 253_402_300_799_999_999
        and 0 <= record.span_id <= _UINT64_MAX
        and -_INT64_MAX <= record.duration_ns <= _INT64_MAX
        and (record.parent_span_id is None or 0 <= record.parent_span_id <= _UINT64_MAX)
        and (record.status_code is None or -32768 <= record.status_code <= 32767)
        and (record.request_bytes is None or -_INT64_MAX <= record.request_bytes <= _INT64_MAX)
        and (record.response_bytes is None or -_INT64_MAX <= record.response_bytes <= _INT64_MAX)
    )


def _clamp(record: UsageRecord, count: Count) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(record, name)
        if value is not None and not low <= value <= high:
            setattr(record, name, min(max(value, low), high))
            count(NUMBER_CLAMPED, 1)


def _repair(record: UsageRecord, max_bytes: int, count: Count) -> None:
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            setattr(record, name, _fit(value, max_bytes, count))
    if record.attributes:
        record.attributes = {
            _fit(key, max_bytes, count): _fit(value, max_bytes, count) for key, value in record.attributes.items()
        }


def _fit(text: str, max_bytes: int, count: Count) -> str:
    """The text without lone surrogates, and at most so long in UTF-8."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        encoded = text.encode()
        count(TEXT_REPLACED, 1)
    if len(encoded) <= max_bytes:
        return text
    count(VALUE_TRUNCATED, 1)
    return encoded[:max_bytes].decode(errors="ignore")
