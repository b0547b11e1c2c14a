"""The first line of a segment: whose it is, and how many records its process could not keep, by reason.

Its width never changes, so the counters are updated in place, which needs no space on a full disk and survives
SIGKILL.
"""

import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from otel_usage.exporter.losses import REASONS

_COUNTER_WIDTH: Final = 16
# A line longer than any header; bounds what is read of a file that is none of ours.
MAX_HEADER_BYTES: Final = 4096


class Header(msgspec.Struct, kw_only=True):
    """What the first line of a segment says.

    `started` is ISO 8601 in UTC; `counts` holds every reason of `losses.REASONS`.
    """

    otel_usage_segment: int = 1
    id: str
    pid: int
    started: str
    counts: dict[str, int]


_decode: Final = msgspec.json.Decoder(Header).decode


def new_header(counts: Mapping[str, int]) -> Header:
    """A header of a new segment of this process."""
    return Header(id=str(uuid.uuid4()), pid=os.getpid(), started=datetime.now(UTC).isoformat(), counts=dict(counts))


def render(header: Header) -> tuple[bytes, int]:
    """The line with its newline, and the offset of what `render_counts` gives."""
    start = f'{{"otel_usage_segment":1,"id":"{header.id}","pid":{header.pid},"started":"{header.started}","counts":'
    line = start.encode() + render_counts(header.counts) + b"}\n"
    return line, len(start)


def render_counts(counts: Mapping[str, int]) -> bytes:
    """The counters, always of the same width."""
    fields = (f'"{reason}":{counts.get(reason, 0):{_COUNTER_WIDTH}d}' for reason in REASONS)
    return f"{{{','.join(fields)}}}".encode()


def parse(line: bytes) -> Header | None:
    """The header in the first line of a segment, None if it is none."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
