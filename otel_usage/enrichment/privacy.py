"""What may be kept of credentials, URLs and addresses: fingerprints, hints, redaction, truncation.

The only place that decides what is a secret. Where a credential is found in a request is in `credentials`.
"""

import hmac
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import unquote_plus

from otel_usage.attributes import HEADER_PREFIXES

REDACTED: Final = "REDACTED"

_HINT_MIN_LENGTH: Final = 20
_HINT_TAIL: Final = 4
# "ghp_", "github_pat_", "sk_live_", "dop_v1_": short lower-case words; or a dash prefix known by name.
_VENDOR_PREFIX: Final = re.compile(
    r"[a-z]{2,8}_(?:(?:[a-z]{2,6}|v[0-9])_){0,2}|(?:glpat|gldt|glrt|pypi|sk|xox[abeoprs])-"
)

_QUERY_SEGMENT: Final = re.compile(r"[^&;]+")
_URL_SEGMENT: Final = re.compile(r"[^&;#\s]+")
# An encoded "=" assigns too: it belongs to a URL that is itself the value of a parameter.
_ASSIGNMENT: Final = re.compile(r"=|%3[Dd]")
_USER_INFO: Final = re.compile(r"//[^/?#\s]*@")
_WORD: Final = re.compile(r"[\w-]+")
# What is cached by name must stay small.
_MAX_NAME_LENGTH: Final = 128
# Compared without "_" and "-", in lower case.
_SECRET_PARAMETERS: Final = frozenset(
    (
        *("accesskey", "apikey", "auth", "authorization", "awsaccesskeyid", "code", "credential", "jsessionid", "jwt"),
        *("key", "passphrase", "passwd", "password", "phpsessid", "privatekey", "pwd", "secret", "secretkey"),
        *("session", "sessionid", "sid", "sig", "signature", "token", "xamzcredential", "xamzsignature"),
        *("xgoogcredential", "xgoogsignature"),
    )
)
_SECRET_PARAMETER_ENDINGS: Final = ("token", "secret", "password", "passwd", "apikey")
# In the name of every parameter above, and in every one that is written in percent-encodings.
_TRACE_OF_SECRET: Final = re.compile("key|auth|code|cred|sess|jwt|pass|pwd|secret|sid|sig|token|%")

_SENSITIVE_KEY: Final = re.compile(
    r"password|passwd|passphrase|secret|credential|authorization|cookie"
    r"|api_?key|access_?token|auth_?token|refresh_?token|id_token|private_?key|access_?key"
    r"|(?:^|[._])(?:token|jwt|bearer|headers)$"
)
_SENSITIVE_HEADER: Final = re.compile(r"token|authenti|jwt|session|signature|[_.](?:key|auth)(?:_|$)")

# With the dot before the header's name.
_HEADER_START: Final = min(map(len, HEADER_PREFIXES)) - 1

_ADDRESS_MAX_LENGTH: Final = 64
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::[0-9]*)?")
_IPV4_PORT: Final = re.compile(r"([0-9.]+):[0-9]*")


def fingerprint(key: bytes, token: str) -> str:
    """The token id: `tok_` and the first 16 hexadecimal digits of HMAC-SHA256(key, token in UTF-8).

    A Collector's redaction processor with the same key makes the same id. A lone surrogate is encoded as itself.
    """
    keyed = _keyed(key).copy()
    keyed.update(token.encode("utf-8", "surrogatepass"))
    return f"tok_{keyed.hexdigest()[:16]}"


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> hmac.HMAC:
    """The beginning of every HMAC with this key; unlike `hmac.digest`, a copy of it does not let go of the GIL."""
    return hmac.new(key, digestmod="sha256")


def hint(token: str) -> str | None:
    """What a person may see of a token to recognise it: a vendor's prefix, "…" and the last 4 characters.

    Returns:
        None for tokens of fewer than 20 characters or with characters outside printable ASCII. The prefix is
        left out where more than a fifth of the token would be shown.
    """
    if len(token) < _HINT_MIN_LENGTH or not (token.isascii() and token.isprintable()):
        return None
    found = _VENDOR_PREFIX.match(token)
    prefix = found[0] if found else ""
    if 5 * (len(prefix) + _HINT_TAIL) > len(token):
        prefix = ""
    return f"{prefix}…{token[-_HINT_TAIL:]}"


def redact_query(query: str) -> str:
    """The query string with `REDACTED` for the value of each parameter that may be a credential.

    Names are compared decoded, in lower case and without "-" and "_"; all else stays byte for byte.
    """
    return _QUERY_SEGMENT.sub(_redact_segment, query) if _may_assign_secret(query) else query


def redact_parameter(query: str, name: str) -> str:
    """The query string with `REDACTED` for the value of this parameter, whatever it is called."""

    def redact(found: re.Match[str]) -> str:
        segment = found[0]
        key, _, _ = segment.partition("=")
        return f"{key}={REDACTED}" if unquote_plus(key) == name else segment

    return _QUERY_SEGMENT.sub(redact, query)


def redact_url(text: str) -> str:
    """Any text with the credentials of the URLs in it redacted: parameters of query and fragment, and userinfo."""
    if "@" in text:
        text = _USER_INFO.sub(f"//{REDACTED}@", text)
    return _URL_SEGMENT.sub(_redact_segment, text) if _may_assign_secret(text) else text


def truncate_address(address: str, level: int) -> str | None:
    """The client address as far as the privacy level lets it be kept, without port and brackets.

    Args:
        address: An IP address, or whatever a server says instead ("unix:", "testclient", a host name).
        level: 0 keeps it; 1 keeps the /24 of IPv4 and the /48 of IPv6, and nothing that is no IP address; any
            other level keeps nothing. An IPv4-mapped IPv6 address counts as IPv4.
    """
    if level not in (0, 1) or not address:
        return None
    if len(address) > _ADDRESS_MAX_LENGTH:
        return None if level else address
    return _truncate(address, level)


def is_sensitive_key(name: str) -> bool:
    """Whether the value of an attribute with this name may be a credential and is never kept."""
    return (_is_sensitive_key if len(name) <= _MAX_NAME_LENGTH else _is_sensitive_key.__wrapped__)(name)


def _may_assign_secret(text: str) -> bool:
    """False for nearly every text: looking at each of its parameters costs ten times as much."""
    if "=" not in text and "%3" not in text:
        return False
    text = text.lower()
    if "_" in text or "-" in text:
        text = text.replace("_", "").replace("-", "")
    return _TRACE_OF_SECRET.search(text) is not None


def _redact_segment(found: re.Match[str]) -> str:
    segment = found[0]
    start = 0
    for assignment in _ASSIGNMENT.finditer(segment):
        if _is_secret_parameter(segment[start : assignment.start()][-_MAX_NAME_LENGTH:]):
            return f"{segment[: assignment.end()]}{REDACTED}"
        start = assignment.end()
    return segment


@lru_cache(maxsize=1024)
def _is_secret_parameter(name: str) -> bool:
    # The last word: "user[password]" is a password, and "http://host/?token" a token.
    words = [word for word in _WORD.findall(unquote_plus(name)) if word.strip("-")]
    if not words:
        return False
    word = words[-1].lower().replace("-", "_")
    bare = word.replace("_", "")
    return bare in _SECRET_PARAMETERS or bare.endswith(_SECRET_PARAMETER_ENDINGS) or word.endswith("_key")


@lru_cache(maxsize=1024)
def _is_sensitive_key(name: str) -> bool:
    name = name.lower().replace("-", "_")
    if _SENSITIVE_KEY.search(name):
        return True
    return name.startswith(HEADER_PREFIXES) and _SENSITIVE_HEADER.search(name, _HEADER_START) is not None


@lru_cache(maxsize=4096)
def _truncate(address: str, level: int) -> str | None:
    bare = _without_port(address)
    try:
        parsed = ip_address(bare)
    except ValueError:
        return None if level else address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
        bare = str(parsed)
    return _network(parsed) if level else bare


def _without_port(address: str) -> str:
    found = _BRACKETED.fullmatch(address) or _IPV4_PORT.fullmatch(address)
    return found[1] if found else address


def _network(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(IPv4Address(int(address) >> 8 << 8))
    return str(IPv6Address(int(address) >> 80 << 80))
