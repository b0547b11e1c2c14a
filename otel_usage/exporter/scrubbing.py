"""The last look before a record is kept: no raw credential of its request may be in it, whoever put it there.

Looked for in the encoded line, where everything is; where one is found the record is cleaned. Which texts are
credentials is `enrichment`'s to say.
"""

import re
from binascii import unhexlify
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import msgspec

from otel_usage.enrichment.privacy import REDACTED
from otel_usage.exporter.record import UsageRecord

# Shorter texts occur by chance: replacing them would spoil what is kept and hide no secret.
_MIN_LENGTH: Final = 8

# Percent-encoding and JSON leave these as they are, and most tokens have no others. Not "~", which RFC 3986 (2.3) has
# among them too: Java and PHP percent-encode it.
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._-]+")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_REDACTED: Final = REDACTED.encode("ascii")
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
    return (_as_it_stands(line), _as_form(line)) if b"+" in line else (_as_it_stands(line),)


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
    raws: list[bytes] = []
    for secret in secrets:
        if len(secret) >= _MIN_LENGTH:
            text = text.replace(secret, REDACTED)
            if not _UNRESERVED.fullmatch(secret):
                raws.append(secret.encode("utf-8", "replace"))
    if raws and ("%" in text or "+" in text):
        text = _without_encoded(text, raws, _as_it_stands)
        text = _without_encoded(text, raws, _as_form)
    return text


def _as_it_stands(text: bytes) -> bytes:
    # Not `unquote_to_bytes`: of a text of percent signs it asks each what it encodes.
    return _ESCAPE.sub(_byte, text)


def _byte(escape: re.Match[bytes]) -> bytes:
    return unhexlify(escape[1])


def _as_form(text: bytes) -> bytes:
    return _as_it_stands(text.replace(b"+", b" "))


def _without_encoded(text: str, raws: list[bytes], decode: Callable[[bytes], bytes]) -> str:
    """The text without secrets of which some bytes are percent-encoded, or written otherwise.

    No expression is made of a secret: `re` would remember it.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    decoded = decode(encoded)
    for raw in raws:
        if raw in decoded:
            encoded = _cut(encoded, decoded, raw)
            decoded = decode(encoded)
    return encoded.decode("utf-8", "surrogatepass")


def _cut(encoded: bytes, decoded: bytes, raw: bytes) -> bytes:
    # A byte's place in the one text is that in the other, and two more for each that is percent-encoded before it.
    escaped = [found.start() - 2 * number for number, found in enumerate(_ESCAPE.finditer(encoded))]
    kept: list[bytes] = []
    begin, place = 0, decoded.find(raw)
    while place >= 0:
        end = place + len(raw)
        kept += (encoded[begin : place + 2 * bisect_left(escaped, place)], _REDACTED)
        begin = end + 2 * bisect_left(escaped, end)
        place = decoded.find(raw, end)
    return b"".join((*kept, encoded[begin:]))
