"""The few request headers that are looked at, out of a WSGI environ or an ASGI scope."""

from collections.abc import Mapping
from typing import Any, Final

from otel_usage.enrichment.facts import WANTED_HEADERS

_ENVIRON_KEYS: Final = tuple((f"HTTP_{name.upper().replace('-', '_')}", name) for name in sorted(WANTED_HEADERS))
_SCOPE_NAMES: Final = {name.encode("ascii"): name for name in WANTED_HEADERS}


def of_environ(environ: Mapping[str, Any]) -> dict[str, str]:
    """WANTED_HEADERS by lower-case name; values as WSGI gives them, text of Latin-1 bytes (PEP 3333)."""
    return {name: environ[variable] for variable, name in _ENVIRON_KEYS if variable in environ}


def of_scope(scope: Mapping[str, Any]) -> dict[str, str]:
    """WANTED_HEADERS by lower-case name; of repeated ones the first, cookies joined (RFC 9113, 8.2.3)."""
    found: dict[str, str] = {}
    for raw, value in scope.get("headers") or ():
        name = _SCOPE_NAMES.get(raw)
        if name is None:
            continue
        text = value.decode("latin-1")
        if name not in found:
            found[name] = text
        elif name == "cookie":
            found[name] = f"{found[name]}; {text}"
    return found


def path_of_environ(environ: Mapping[str, Any]) -> str:
    """The decoded path as the client asked for it: mount point and rest, as text of UTF-8 bytes."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
    if path.isascii():
        return path
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
