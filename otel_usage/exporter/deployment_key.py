"""The deployment key on disk: read, and made once however many processes start at once.

What is computed with it is `enrichment.privacy`'s.
"""

import os
import secrets
import uuid
from pathlib import Path
from typing import Final

from otel_usage.errors import ConfigurationError
from otel_usage.exporter.paths import make_private_folder
from otel_usage.settings import MIN_TOKEN_KEY_BYTES

_HINT: Final = "Set OTEL_USAGE_TOKEN_KEY, or OTEL_USAGE_TOKEN_KEY_FILE to a readable file."


def load_or_create(path: Path) -> bytes:
    """The deployment key: the text of the file in UTF-8, without a trailing newline.

    The file appears whole or not at all (`os.link`): creating it exclusively and then writing gives racing processes
    different keys.

    Raises:
        ConfigurationError: It can be neither read nor made, or is too short to be a key.
    """
    try:
        if not path.exists():
            _create(path)
        key = read(path)
    except OSError as error:
        raise ConfigurationError(f"The deployment key {path} cannot be used: {error.strerror}.", _HINT) from error
    _require_usable(key, path)
    return key


def read(path: Path) -> bytes:
    """The key as it stands in its file.

    Raises:
        OSError: It cannot be read.
    """
    return path.read_bytes().removesuffix(b"\n").removesuffix(b"\r")


def _create(path: Path) -> None:
    make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{uuid.uuid4()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_hex(MIN_TOKEN_KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            draft.rename(path)


def _require_usable(key: bytes, path: Path) -> None:
    """Refuse what the environment variable would be refused for.

    Raises:
        ConfigurationError: It is no text in UTF-8, or shorter than 32 bytes.
    """
    try:
        key.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"The deployment key {path} is not text in UTF-8.", _HINT) from None
    if len(key) < MIN_TOKEN_KEY_BYTES:
        raise ConfigurationError(
            f"The deployment key {path} has {len(key)} bytes; it needs {MIN_TOKEN_KEY_BYTES}.", _HINT
        )
