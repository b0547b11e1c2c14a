"""Realistic records, the same in every run."""

import random
import time

from otel_usage.exporter.record import UsageRecord


def make(count: int) -> list[UsageRecord]:
    """`count` requests of a data portal, most of their columns filled."""
    source = random.Random(20261121)
    now = time.time_ns() // 1000
    return [_record(source, now, number) for number in range(count)]


def _record(source: random.Random, now: int, number: int) -> UsageRecord:
    dataset, file, user = number % 500, number % 7000, number % 200
    return UsageRecord(
        start_time=now + number * 900,
        duration_ns=source.randrange(10**6, 10**8),
        trace_id=f"{source.getrandbits(128):032x}",
        span_id=source.getrandbits(64),
        service_name="portal",
        service_version="1.2",
        service_instance_id="a1b2c3",
        environment="production",
        host="data.example.org",
        method="GET",
        route="/datasets/{dataset}/files/{file}",
        path=f"/datasets/{dataset}/files/{file}",
        scheme="https",
        protocol_version="1.1",
        status_code=200 if number % 20 else 404,
        request_bytes=0,
        response_bytes=source.randrange(10**6),
        client_address=f"192.0.2.{number % 250}",
        user_agent="python-requests/2.32.3",
        token_id=f"tok_{number % 300:016x}",
        token_scheme="bearer",
        token_hint="…abcd",
        user_id=str(user),
        user_name=f"user{user}",
        user_source="framework",
        resource_type="file",
        resource_id=str(file),
        resource_parent_type="dataset",
        resource_parent_id=str(dataset),
        action="view",
        sampled=True,
        attributes={"server.port": "443"},
    )
