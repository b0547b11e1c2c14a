"""Segments that are torn, cut, overwritten or invented: good lines become rows, bad ones are kept, none blocks."""

import json
import socket
from pathlib import Path

import pytest

from otel_usage.exporter.committer import drain
from otel_usage.exporter.header import new_header, render
from otel_usage.exporter.pending import pending
from tests.integration.faults.surroundings import (
    GUNICORN,
    ask,
    ask_at_once,
    asked,
    committed,
    lost,
    overview,
    paths,
    segment,
    totals,
)
from tests.integration.site import serve, wait_for
from tests.unit.exporter.support import line, losses, numbers, paths_of

HEADER = render(new_header({}))[0]
GOOD = [line(number) for number in range(1, 7)]


def with_field(number: int, name: str, value: str) -> bytes:
    """The line of a record with this text in place of a field's value, or with one more field."""
    fields = json.loads(line(number))
    fields[name] = "@"
    return json.dumps(fields, separators=(",", ":")).replace('"@"', value).encode() + b"\n"


def twice(number: int, name: str, value: str) -> bytes:
    """The line of a record that says a field a second time."""
    return line(number)[:-2] + f',"{name}":{value}}}\n'.encode()


# What stands among good lines, and the number of lines and of rows that it is. What DuckDB can convert is a row, though
# no process of ours writes it.
BAD: dict[str, tuple[bytes, int, int]] = {
    "torn": (line(50)[:40] + b"\n", 1, 0),
    "garbage": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\n", 4, 0),
    "40 MB": (b'{"path":"' + b"x" * 40_000_000 + b'"}\n', 1, 0),
    "40 MB of nothing": (b"\x00" * 40_000_000 + b"\n", 1, 0),
    "a megabyte in a good line": (with_field(50, "path", '"' + "x" * 1_000_000 + '"'), 1, 1),
    "invalid UTF-8": (with_field(50, "path", '"?"').replace(b"?", b"\xff\xfe\xc3"), 1, 0),
    "a lone surrogate": (with_field(50, "path", r'"\ud800"'), 1, 0),
    "NUL bytes": (with_field(50, "path", '"?"').replace(b"?", b"\x00"), 1, 0),
    "NUL in JSON's spelling": (with_field(50, "path", r'"a\u0000b"'), 1, 1),
    "status 70000": (with_field(50, "status_code", "70000"), 1, 0),
    "status 2**70": (with_field(50, "status_code", str(2**70)), 1, 0),
    "status -1": (with_field(50, "status_code", "-1"), 1, 1),
    "status -70000": (with_field(50, "status_code", "-70000"), 1, 0),
    "status 200.5": (with_field(50, "status_code", "200.5"), 1, 1),
    "status 1e400": (with_field(50, "status_code", "1e400"), 1, 0),
    "status NaN": (with_field(50, "status_code", "NaN"), 1, 0),
    "status text": (with_field(50, "status_code", '"200"'), 1, 1),
    "span id 2**70": (with_field(50, "span_id", str(2**70)), 1, 0),
    "span id 2**64": (with_field(50, "span_id", str(2**64)), 1, 0),
    "span id -1": (with_field(50, "span_id", "-1"), 1, 0),
    "span id null": (with_field(50, "span_id", "null"), 1, 0),
    "bytes 1e400": (with_field(50, "response_bytes", "1e400"), 1, 0),
    "bytes Infinity": (with_field(50, "response_bytes", "Infinity"), 1, 0),
    "bytes 2**70": (with_field(50, "response_bytes", str(2**70)), 1, 0),
    "start 2**70": (with_field(50, "start_time", str(2**70)), 1, 0),
    "start beyond all calendars": (with_field(50, "start_time", str(2**63 - 1)), 1, 0),
    "duration NaN": (with_field(50, "duration_ns", "NaN"), 1, 0),
    "trace id too short": (with_field(50, "trace_id", '"abc"'), 1, 0),
    "a key twice": (twice(50, "path", '"again"'), 1, 0),
    "the status twice": (twice(50, "status_code", "500"), 1, 0),
    "an attribute twice": (with_field(50, "attributes", '{"a":"1","a":"2"}'), 1, 0),
    "attributes of other types": (with_field(50, "attributes", '{"a":1}'), 1, 1),
    "two on a line": (line(50)[:-1] + line(51), 1, 0),
    "a header amid the lines": (HEADER, 1, 0),
    "nested without end": (b'{"attributes":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001 + b"\n", 1, 0),
    "carriage returns": (line(50)[:-1] + b"\r\n", 1, 1),
    "empty lines": (b"\n\n\n", 3, 0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_among_good_ones(tmp_path: Path, name: str) -> None:
    """Lines = inserted + duplicate + rejected; good lines, and other segments, are committed at once."""
    bad, lines, rows = BAD[name]
    store = paths_of(tmp_path)
    path = segment(store, *GOOD[:2], bad, *GOOD[2:4])
    segment(store, *GOOD[4:], GOOD[4])
    summary = drain(store)
    assert (summary.lines, summary.inserted, summary.duplicate) == (7 + lines, 6 + rows, 1)
    assert summary.rejected == lines - rows
    assert [number for number in numbers(tmp_path) if number < 50] == list(range(1, 7))
    assert losses(tmp_path) == ({"rejected": lines - rows} if lines - rows else {})
    kept = store.rejected / f"{path.stem}.jsonl"
    entries = [json.loads(entry) for entry in kept.read_bytes().splitlines()] if kept.exists() else []
    assert len(entries) == lines - rows
    assert all(entry["reason"] for entry in entries)
    assert {entry["line_number"] for entry in entries} <= set(range(4, 4 + lines))
    assert store.segments() == []


def header_of(**changes: object) -> bytes:
    """A header that another version, or nobody, has written."""
    return json.dumps({**json.loads(HEADER), **changes}, separators=(",", ":")).encode() + b"\n"


# Whole segments: their bytes, and the lines, rows and torn lines they are.
FILES: dict[str, tuple[bytes, int, int, int]] = {
    "empty": (b"", 0, 0, 0),
    "a header only": (HEADER, 0, 0, 0),
    "half a header": (HEADER[:60], 0, 0, 0),
    "a header without newline": (HEADER[:-1], 0, 0, 0),
    "a header of a future version": (header_of(otel_usage_segment=2, compression="none") + b"".join(GOOD[:3]), 3, 3, 0),
    "a counter of a future version": (header_of(counts={"new_reason": 3}) + b"".join(GOOD[:3]), 3, 3, 0),
    "no header": (b"".join(GOOD[:3]), 3, 3, 0),
    "torn at its end": (HEADER + b"".join(GOOD[:3]) + line(50)[:30], 3, 3, 1),
    "whole but for the newline": (HEADER + b"".join(GOOD[:3])[:-1], 3, 3, 0),
    "cut to its middle": (HEADER + b"".join(GOOD[:3])[:-60], 2, 2, 1),
    "overwritten in the middle": (HEADER + GOOD[0] + b"\x00" * 500 + b"\n" + GOOD[1], 3, 2, 0),
    "all garbage": (bytes(range(256)) * 4000, 4000, 0, 0),
}


@pytest.mark.parametrize("suffix", [".ready", ".open"])
@pytest.mark.parametrize("name", FILES)
def test_segments_that_are_not_whole(tmp_path: Path, name: str, suffix: str) -> None:
    """Whatever a segment is, its good lines are rows, bad ones kept, a torn one counted; the next is committed."""
    content, lines, rows, torn = FILES[name]
    store = paths_of(tmp_path)
    segment(store, header=content, suffix=suffix)
    segment(store, line(100))
    summary = drain(store)
    assert (summary.lines, summary.inserted, summary.rejected) == (lines + 1, rows + 1, lines - rows)
    assert numbers(tmp_path)[-1] == 100
    assert len(numbers(tmp_path)) == rows + 1
    assert losses(tmp_path).get("torn_line", 0) == torn
    assert pending(store).records == 0
    assert store.segments() == []


def test_bad_segments_under_a_living_application(tmp_path: Path) -> None:
    """Bad segments of every kind appear while an application serves: its requests are not held up, sums agree."""
    with serve(tmp_path, "flask_app.py", GUNICORN, OTEL_USAGE_COMMIT_INTERVAL="0.2") as site:
        ask_at_once(site, range(100))
        for bad, _, _ in BAD.values():
            segment(paths(site), bad)
        for content, *_ in FILES.values():
            segment(paths(site), header=content)
        ask_at_once(site, range(100, 200))
        wait_for(lambda: not any(path.suffix == ".ready" for path in paths(site).segments()))
        wait_for(lambda: committed(site) >= 200)
        site.stop()
        site.read_rows()
        counted = lost(site)
        assert overview(site)["uncommitted"] == 0
        doctor = site.cli("doctor").stdout
    assert asked(site.rows) == list(range(200))
    stored = totals(site.store)
    assert stored["lines"] == stored["inserted"] + stored["duplicate"] + stored["rejected"]
    assert stored["inserted"] == len(site.rows)
    assert stored["rejected"] == counted["rejected"]
    assert f"{counted['rejected']} rejected lines lie in {paths(site).rejected}" in doctor
    assert "Traceback" not in site.log


# Header values and targets that no client should send.
VALUES = [
    b"\xff\xfe\xfd",
    b"caf\xc3\xa9 \xf0\x9f",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"tab\tand\x01control\x7f",
    b"x" * 20_000,
]
PLACES = [b"User-Agent", b"Referer", b"X-API-Key", b"Authorization", b"X-Forwarded-For", b"Cookie", b"Host"]
TARGETS = [b"/claims/1?q=\xff\xfe", b"/claims/1?q=%00%ff", b"/claims/%00", b"/%ff%fe/\xff", b"/claims/1?" + b"a" * 7000]

SERVERS = {
    "gunicorn": ("flask_app.py", GUNICORN),
    "uvicorn": ("fastapi_app.py", ["uvicorn", "--port", "{port}", "fastapi_app:app"]),
    "waitress": ("flask_app.py", ["waitress-serve", "--listen=127.0.0.1:{port}", "flask_app:app"]),
}


def send(port: int, request: bytes) -> int:
    """The status of the answer to these bytes, 0 if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request)
        answer = client.makefile("rb").readline()
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1") else 0


@pytest.mark.parametrize("server", SERVERS)
def test_bytes_in_headers_that_are_no_text(tmp_path: Path, server: str) -> None:
    """Invalid UTF-8, NUL and control bytes in headers and targets: each request the application saw is one row."""
    with serve(tmp_path, *SERVERS[server], OTEL_USAGE_COMMIT_INTERVAL="0.2") as site:
        answers: list[int] = []
        for value in [*VALUES, b"nul\x00byte"]:
            for place in PLACES:
                end = b"Connection: close\r\n\r\n"
                host = b"" if place == b"Host" else b"Host: x\r\n"
                request = b"GET /claims/7 HTTP/1.1\r\n" + host + place + b": " + value + b"\r\n" + end
                answers.append(send(site.port, request))
        for target in TARGETS:
            answers.append(send(site.port, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        ask(site, 1)
        site.stop()
        rows = site.read_rows()
        assert lost(site).keys() <= {"text_replaced", "value_truncated"}
        assert "otel_usage" not in site.log
    assert 500 not in answers
    # What a server refuses by itself never reaches the application: 400 and 431 have no row.
    assert answers.count(200) + 1 == sum(row["status_code"] == 200 for row in rows)
    assert answers.count(404) == sum(row["status_code"] == 404 for row in rows)
    stored = totals(site.store)
    assert stored["rejected"] == stored["duplicate"] == 0
