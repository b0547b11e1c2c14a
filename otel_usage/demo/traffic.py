"""What the demo sends: so many requests, divided among visitors that send at the same time."""

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Final

from otel_usage.demo.kinds import KINDS, Kind
from otel_usage.demo.visitor import PlannedRequest, Visitor

VISITORS: Final = 4


def plan(data: ModuleType, requests: int) -> list[Iterator[PlannedRequest]]:
    """The requests of every visitor, in their order: together exactly `requests`, the same every time."""
    counts = [len(range(number, requests, VISITORS)) for number in range(VISITORS)]
    return [_requests(Visitor(data, number), count) for number, count in enumerate(counts)]


def _requests(visitor: Visitor, count: int) -> Iterator[PlannedRequest]:
    """One of every kind first, then as the shares say: a short run meets every kind too."""
    for position in range(count):
        place = position * VISITORS + visitor.number
        kind = KINDS[place] if place < len(KINDS) else _drawn_kind(visitor)
        yield replace(kind.build(visitor), kind=kind.name)


def _drawn_kind(visitor: Visitor) -> Kind:
    return visitor.draw.choices(KINDS, [kind.share for kind in KINDS])[0]
