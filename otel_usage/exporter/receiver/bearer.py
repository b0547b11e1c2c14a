"""Who may send: the bearer tokens of the receiver, read from a file and compared in constant time (RFC 6750)."""

import hmac
from collections.abc import Sequence
from pathlib import Path

from otel_usage.errors import ConfigurationError


def read_tokens(path: Path) -> tuple[str, ...]:
    """The tokens of a file, one a line: several, so that one can be replaced while clients still use the other.

    Raises:
        ConfigurationError: It cannot be read, holds no token, or one that no header can carry.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigurationError(f"--token-file {path} cannot be read: {reason}.", "Name a readable file.") from None
    tokens = tuple(line.strip() for line in lines if line.strip())
    if not tokens:
        raise ConfigurationError(f"--token-file {path} holds no token.", "Write one into it, on a line of its own.")
    if any(not token.isascii() or not token.isprintable() or " " in token for token in tokens):
        raise ConfigurationError(
            f"--token-file {path} holds a token that no header can carry.",
            "Tokens are printable ASCII characters without spaces, one token a line.",
        )
    return tokens


def is_open_to_others(path: Path) -> bool:
    """Whether other users of the machine may read the file."""
    return bool(path.stat().st_mode & 0o004)


def is_authorized(authorization: str, tokens: Sequence[str]) -> bool:
    """Whether an Authorization header carries one of the tokens; everything is, where there is none to carry."""
    if not tokens:
        return True
    scheme, _, credential = authorization.partition(" ")
    given = credential.strip().encode("utf-8", "surrogateescape")
    # All are compared, so that the time does not tell which one came close.
    matches = [hmac.compare_digest(given, token.encode()) for token in tokens]
    return scheme.lower() == "bearer" and any(matches)
