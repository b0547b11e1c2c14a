"""The last look before a record is kept: no raw credential of its request may be in it, whoever put it there.

Looked for in the encoded line, where everything is; where one is found the record is cleaned. Which texts are
credentials is `enrichment`'s to say.
"""

import re
from typing import Final
from urllib.parse import quote, quote_plus

import msgspec

from otel_usage.enrichment.privacy import REDACTED
from otel_usage.exporter.record import UsageRecord

# Shorter texts occur by chance: replacing them would spoil what is kept and hide no secret.
_MIN_LENGTH: Final = 8


# Percent-encoding (RFC 3986, 2.3) and JSON leave these as they are; most tokens have no others.
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]+")
# A trace id is a number in hexadecimal; it must stay what it is.
_TEXTS: Final = tuple(name for name in UsageRecord.__struct_fields__ if name != "trace_id")


def holds(line: bytes, secrets: tuple[str, ...]) -> bool:
    """Whether an encoded record has one of these secrets in it, plain or percent-encoded."""
    for secret in secrets:
        for spelling in _spellings_in_json(secret):
            if spelling in line:
                return True
    return False


def scrub(record: UsageRecord, secrets: tuple[str, ...]) -> None:
    """Put REDACTED in the place of these secrets, in every text of the record."""
    spellings = [spelling for secret in secrets for spelling in _spellings(secret)]
    for name in _TEXTS:
        value = getattr(record, name)
        if isinstance(value, str):
            setattr(record, name, _without(value, spellings))
        elif isinstance(value, dict):
            kept = {_without(k, spellings): _without(v, spellings) for k, v in value.items()}
            setattr(record, name, kept)


def _spellings(secret: str) -> tuple[str, ...]:
    if len(secret) < _MIN_LENGTH:
        return ()
    if _UNRESERVED.fullmatch(secret):
        return (secret,)
    plus = quote_plus(secret, errors="replace")
    return (secret, quote(secret, errors="replace"), quote(secret, safe="", errors="replace"), plus)


def _spellings_in_json(secret: str) -> tuple[bytes, ...]:
    if len(secret) >= _MIN_LENGTH and _UNRESERVED.fullmatch(secret):
        return (secret.encode("ascii"),)
    # What UTF-8 cannot encode is replaced in a line, so it cannot be found there.
    texts = (spelling.encode("utf-8", "replace").decode("utf-8") for spelling in _spellings(secret))
    return tuple(msgspec.json.encode(text)[1:-1] for text in texts)


def _without(text: str, spellings: list[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, REDACTED)
    return text
