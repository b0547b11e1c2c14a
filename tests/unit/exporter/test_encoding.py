"""A record becomes one line within its bounds, whatever an application put into it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.losses import ENCODE_ERROR, NUMBER_CLAMPED, TEXT_REPLACED, VALUE_TRUNCATED
from otel_usage.exporter.record import MAX_LINE_BYTES, MAX_VALUE_BYTES, UsageRecord
from tests.unit.exporter.support import record

TEXT_FIELDS = [name for name, hint in UsageRecord.__annotations__.items() if hint in (str | None, "str | None")]


def encode(**fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """The decoded line and what was counted."""
    counted: dict[str, int] = {}

    def count(reason: str, n: int) -> None:
        counted[reason] = counted.get(reason, 0) + n

    line = encode_line(record(1, **fields), count)
    assert line is not None
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE_BYTES + 1
    return json.loads(line), counted


def test_an_ordinary_record_is_left_as_it_is() -> None:
    """Nothing is counted, NULL is left out, newlines are escaped."""
    values, counted = encode(user_name="a\nb", attributes={"k": "v"})
    assert counted == {}
    assert values["user_name"] == "a\nb"
    assert values["attributes"] == {"k": "v"}
    assert "route" not in values


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("status_code", 70000, 32767),
        ("status_code", -(10**30), -32768),
        ("span_id", 1 << 64, (1 << 64) - 1),
        ("parent_span_id", -1, 0),
        ("duration_ns", 1 << 63, (1 << 63) - 1),
        ("response_bytes", 10**30, (1 << 63) - 1),
        ("start_time", 10**30, 253_402_300_799_999_999),
    ],
)
def test_numbers_are_clamped_to_their_column(column: str, value: int, kept: int) -> None:
    """A number beyond its column's range becomes the nearest that fits, and is counted."""
    values, counted = encode(**{column: value})
    assert values[column] == kept
    assert counted == {NUMBER_CLAMPED: 1}


def test_lone_surrogates_are_replaced() -> None:
    """Text that is no Unicode is repaired where it is, in values and in attributes."""
    values, counted = encode(path="/a\ud800b", attributes={"k\udfff": "\ud83d\ude00 \udc00"})
    assert values["path"] == "/a\ufffdb"
    assert values["attributes"] == {"k\ufffd": "\U0001f600 \ufffd"}
    assert counted == {TEXT_REPLACED: 3}


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u2603", "\U0001f600", "\x00"])
def test_a_long_value_is_cut_at_a_character(character: str) -> None:
    """A value keeps at most 8 KiB of UTF-8, never half a character, and as much as fits."""
    values, counted = encode(user_agent=character * 10_000, attributes={"k": character * 10_000})
    size = len(character.encode())
    if size * 10_000 > MAX_VALUE_BYTES:
        assert values["user_agent"] == character * (MAX_VALUE_BYTES // size)
        assert values["attributes"] == {"k": values["user_agent"]}
        assert counted == {VALUE_TRUNCATED: 2}


def test_a_long_line_loses_its_attributes_first() -> None:
    """Beyond 256 KiB the attributes go, and the columns stay whole."""
    values, counted = encode(path="p" * 8000, attributes={str(n): "x" * 8000 for n in range(40)})
    assert "attributes" not in values
    assert values["path"] == "p" * 8000
    assert counted == {VALUE_TRUNCATED: 40}


def test_even_the_longest_columns_fit() -> None:
    """Where columns alone, escaped, are longer than a line may be, they are cut further."""
    assert len(TEXT_FIELDS) > 25
    values, counted = encode(**dict.fromkeys(TEXT_FIELDS, "\x00" * 9000))
    assert all(values[name] for name in TEXT_FIELDS)
    assert counted[VALUE_TRUNCATED] >= len(TEXT_FIELDS)


def test_what_cannot_be_encoded_is_counted() -> None:
    """A value of no JSON type costs the record, not the request."""
    counted: list[tuple[str, int]] = []
    broken = record(1, user_name=object())
    assert encode_line(broken, lambda reason, n: counted.append((reason, n))) is None
    assert counted == [(ENCODE_ERROR, 1)]


@given(st.text(alphabet=st.characters(), max_size=50), st.integers(), st.text(alphabet=st.characters()))
def test_any_text_and_number(text: str, number: int, key: str) -> None:
    """Whatever Python takes for text or a number becomes a line that the journal's reader accepts."""
    line = encode_line(record(1, path=text, status_code=number, attributes={key: text}), lambda reason, n: None)
    assert line is not None
    values = msgspec.json.decode(line)
    assert -32768 <= values["status_code"] <= 32767
