"""The last look before a record is kept: no raw credential of its request may be in it, whoever put it there.

Looked for in the encoded line, where everything is; where one is found the record is cleaned. Which texts are
credentials is `enrichment`'s to say.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from otel_usage.enrichment.privacy import REDACTED
from otel_usage.exporter.record import UsageRecord

# Shorter texts occur by chance: replacing them would spoil what is kept and hide no secret.
_MIN_LENGTH: Final = 8


# Percent-encoding (RFC 3986, 2.3) and JSON leave these as they are; most tokens have no others.
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]+")
# A byte that is percent-encoded, or a character as it is.
_UNIT: Final = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
# A trace id is a number in hexadecimal; it must stay what it is.
_TEXTS: Final = tuple(name for name in UsageRecord.__struct_fields__ if name != "trace_id")


def holds(line: bytes, secrets: tuple[str, ...]) -> bool:
    """Whether an encoded record has one of these secrets in it, plain or percent-encoded.

    Which characters are percent-encoded, and in which case, each client decides differently: a line that has such is
    looked at decoded, as it stands and as a form, where a plus is a space.
    """
    decoded: tuple[bytes, ...] | None = None
    for secret in secrets:
        if len(secret) < _MIN_LENGTH:
            continue
        if _UNRESERVED.fullmatch(secret):
            if secret.encode("ascii") in line:
                return True
            continue
        # What UTF-8 cannot encode is replaced in a line, so it cannot be found there.
        raw = secret.encode("utf-8", "replace")
        in_json = msgspec.json.encode(raw.decode("utf-8"))[1:-1]
        if in_json in line:
            return True
        if decoded is None:
            decoded = _decoded(line)
        if any(spelling in text for text in decoded for spelling in (raw, in_json)):
            return True
    return False


def _decoded(line: bytes) -> tuple[bytes, ...]:
    as_form = line.replace(b"+", b" ")
    return tuple(unquote_to_bytes(text) for text in ((line,) if as_form == line else (line, as_form)))


def scrub(record: UsageRecord, secrets: tuple[str, ...]) -> None:
    """Put REDACTED in the place of these secrets, in every text of the record."""
    for name in _TEXTS:
        value = getattr(record, name)
        if isinstance(value, str):
            setattr(record, name, _without(value, secrets))
        elif isinstance(value, dict):
            kept = {_without(k, secrets): _without(v, secrets) for k, v in value.items()}
            setattr(record, name, kept)


def _without(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if len(secret) >= _MIN_LENGTH:
            text = text.replace(secret, REDACTED)
            if not _UNRESERVED.fullmatch(secret):
                raw = secret.encode("utf-8", "replace")
                text = _without_encoded(_without_encoded(text, raw, {}), raw, {"+": b" "})
    return text


def _without_encoded(text: str, raw: bytes, others: dict[str, bytes]) -> str:
    """The text without a secret of which some bytes are percent-encoded, or written otherwise.

    No expression is made of the secret: `re` would remember it.
    """
    units = _UNIT.findall(text)
    said = [others.get(unit) or unquote_to_bytes(unit.encode("utf-8", "replace")) for unit in units]
    decoded = b"".join(said)
    kept: list[str] = []
    number = place = 0
    while (found := decoded.find(raw, place)) >= 0:
        while place < found:
            kept.append(units[number])
            place += len(said[number])
            number += 1
        kept.append(REDACTED)
        while place < found + len(raw):
            place += len(said[number])
            number += 1
    return "".join([*kept, *units[number:]]) if kept else text
