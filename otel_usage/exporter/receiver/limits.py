"""What one receiver takes at most: bounds with their defaults, and the spans that are beyond them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from otel_usage.exporter.otlp.decoding import MAX_DEPTH, ScopeSpans, SpanData

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one worker of the receiver.

    Attributes:
        body_bytes: Of a request's body as it is sent. A Collector drops what is answered 413.
        decompressed_bytes: Of its content.
        attributes: Of one span.
        depth: How deeply arrays and maps may be nested in an attribute, at most as deeply as they are read at all.
        requests: How many wait to be worked on; those beyond are to come again.
        connections: How many clients are connected; those beyond are refused.
        client_seconds: How long a client may take for its headers, and again for its body.
    """

    body_bytes: int = 64 * MEBIBYTE
    decompressed_bytes: int = 64 * MEBIBYTE
    attributes: int = 1024
    depth: int = MAX_DEPTH
    requests: int = 256
    connections: int = 16_384
    client_seconds: float = 30.0

    @property
    def buffered_bytes(self) -> int:
        """Of all bodies that are being received or wait for their turn."""
        return 4 * self.body_bytes


def within(scopes: Iterable[ScopeSpans], limits: Limits) -> Iterable[ScopeSpans]:
    """The same spans; those that no column could hold are counted as invalid instead."""
    for scope in scopes:
        kept = [span for span in scope.spans if _is_within(span, limits)]
        if len(kept) < len(scope.spans):
            scope.invalid += len(scope.spans) - len(kept)
            scope.spans = kept
        yield scope


def _is_within(span: SpanData, limits: Limits) -> bool:
    attributes = span.attributes
    if len(attributes) > limits.attributes:
        return False
    return limits.depth >= MAX_DEPTH or all(_depth(value) <= limits.depth for value in attributes.values())


def _depth(value: Any) -> int:
    """How deeply it is nested: 0 for what is neither a list nor a dict."""
    depth, level = 0, [value]
    while level := [each for each in level if each.__class__ in (list, dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if each.__class__ is dict else each)]
    return depth
