"""The settings: one frozen object, read from the environment and `otel-usage.toml`.

The only reader of `os.environ` and of that file. What a setting does is decided where it is used.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from otel_usage.errors import ConfigurationError

CONFIG_FILE: Final = "otel-usage.toml"
# What OTLP over HTTP appends to a base endpoint.
TRACES_PATH: Final = "/v1/traces"
MIN_TOKEN_KEY_BYTES: Final = 32

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Transport:
    """How the endpoint is spoken to.

    Attributes:
        headers: Sent with every request; names in lower case. Their values are secrets.
        certificate: PEM file of those who may have signed the endpoint's certificate; None for the system's.
        client_certificate: PEM file of our own, if we have one.
        client_key: PEM file of its key, where that is another.
        timeout_seconds: Of one request.
        compression: "gzip" or "none".
    """

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    certificate: Path | None
    client_certificate: Path | None
    client_key: Path | None
    timeout_seconds: float
    compression: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, with absolute paths.

    Attributes:
        database: The store, a DuckDB file.
        exporter: "duckdb" keeps records in the store; "otlp" forwards them; "none" only sets attributes on spans.
        endpoint: OTLP/HTTP base endpoint, for "otlp".
        transport: How it is spoken to.
        commit_interval_seconds: Longest time a record waits for its commit.
        journal_max_bytes: Bound of the journal; newest records beyond it are dropped and counted.
        token_key: The deployment key from the environment, or None: then `token_key_file` holds it.
        token_key_file: Where the deployment key is read, and made on first use.
        anonymous: Whether requests with neither token nor user are kept.
        privacy_level: 0 full client address, 1 truncated (/24, /48), 2 none and no country.
        sdk_disabled: OTEL_SDK_DISABLED: nothing is instrumented.
        is_exporter_set: Whether somebody has said which exporter, and it could be used.
        problems: What could not be used and was defaulted, a line each (always empty when read strictly).
    """

    database: Path
    exporter: str
    endpoint: str
    transport: Transport
    commit_interval_seconds: float
    journal_max_bytes: int
    token_key: bytes | None = field(repr=False)
    token_key_file: Path
    anonymous: bool
    privacy_level: int
    sdk_disabled: bool
    is_exporter_set: bool
    problems: tuple[str, ...] = ()


def load(environ: Mapping[str, str] | None = None, *, strict: bool, database: Path | None = None) -> Settings:
    """Read the settings; the environment wins over the file, `database` over both.

    Args:
        environ: Instead of `os.environ`.
        strict: True at the command line: a bad value raises. False inside an application: it is listed in
            `Settings.problems` and the default stands.
        database: The store, as the caller's own option says.

    Raises:
        ConfigurationError: Strict only; names the variable or file and key, and the remedy.
    """
    reader = _Reader(os.environ if environ is None else environ, strict)
    reader.read_file()
    path = (database or reader.get("database", Path("usage.duckdb"), _path)).absolute()
    chosen: str | None = reader.get("exporter", None, _exporter)
    exporter = chosen or "duckdb"
    return Settings(
        database=path,
        exporter=exporter,
        endpoint=reader.get("endpoint", "http://127.0.0.1:4318", _endpoint),
        transport=_transport(reader, is_used=exporter == "otlp"),
        commit_interval_seconds=reader.get("commit_interval", 5.0, _interval),
        journal_max_bytes=reader.get("journal_max_bytes", 1 << 30, _bytes),
        token_key=reader.get("token_key", None, _token_key),
        token_key_file=reader.get("token_key_file", path.with_name(f"{path.name}.key"), _path),
        anonymous=reader.get("anonymous", True, _boolean),
        privacy_level=reader.get("privacy_level", 1, _privacy_level),
        sdk_disabled=reader.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true",
        is_exporter_set=chosen is not None,
        problems=tuple(reader.problems),
    )


def _transport(reader: "_Reader", *, is_used: bool) -> Transport:
    """What the OTLP exporter specification lets a person say of an endpoint, for all signals at once.

    Its variables for traces alone are those of the tracing backend.
    """
    return Transport(
        headers=reader.get("headers", reader.shared("HEADERS", (), _headers, is_used=is_used), _headers),
        certificate=reader.shared("CERTIFICATE", None, _path, is_used=is_used),
        client_certificate=reader.shared("CLIENT_CERTIFICATE", None, _path, is_used=is_used),
        client_key=reader.shared("CLIENT_KEY", None, _path, is_used=is_used),
        timeout_seconds=reader.shared("TIMEOUT", 10.0, _timeout, is_used=is_used),
        compression=reader.shared("COMPRESSION", "gzip", _compression, is_used=is_used),
    )


class _Reader:
    """Looks one key up after the other and gathers what is wrong."""

    def __init__(self, environ: Mapping[str, str], strict: bool) -> None:
        self.environ = environ
        self.strict = strict
        self.problems: list[str] = []
        self.file: Path | None = None
        self.table: Mapping[str, Any] = {}

    def read_file(self) -> None:
        named = self.environ.get("OTEL_USAGE_CONFIG")
        path = Path(named or CONFIG_FILE).absolute()
        try:
            self.table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if named:
                self.refuse(f"OTEL_USAGE_CONFIG names {path}, which does not exist.", "Make it or unset the variable.")
            return
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.refuse(f"{path} cannot be read: {error}.", "Correct the file.")
            return
        self.file = path
        for key in self.table:
            if key not in _FILE_KEYS:
                known = ", ".join(sorted(_FILE_KEYS))
                self.refuse(f"{path}: unknown key {key!r}.", f"Known keys: {known}.")

    def get(self, key: str, default: _T, convert: Callable[[Any], _T]) -> _T:
        """The value of `key`, converted; the default where it is absent, empty or, unless strict, bad."""
        variable = f"OTEL_USAGE_{key.upper()}"
        candidates: list[tuple[str, Any]] = []
        if self.environ.get(variable):
            candidates.append((variable, self.environ[variable]))
        if key in self.table and key in _FILE_KEYS:
            candidates.append((f"{self.file}: {key}", self.table[key]))
        for where, value in candidates:
            try:
                return convert(value)
            except ValueError as error:
                # Of an address, what stands before @ and after ? may be a credential.
                is_secret = key in _SECRETS or bool(set("@?") & set(str(value)))
                self._refuse_value(where, value, error, is_secret=is_secret)
        return default

    def shared(self, name: str, default: _T, convert: Callable[[Any], _T], *, is_used: bool) -> _T:
        """The value of a variable that every OTLP exporter of the process reads; a bad one matters where it is used."""
        variable = f"OTEL_EXPORTER_OTLP_{name}"
        value = self.environ.get(variable)
        try:
            return convert(value) if value else default
        except ValueError as error:
            if is_used:
                self._refuse_value(variable, value, error, is_secret=name == "HEADERS")
        return default

    def _refuse_value(self, where: str, value: Any, error: ValueError, *, is_secret: bool) -> None:
        shown = "" if is_secret else f" = {value!r}"
        self.refuse(f"{where}{shown} cannot be used.", f"It must be {error}.")

    def refuse(self, message: str, hint: str) -> None:
        if self.strict:
            raise ConfigurationError(message, hint)
        self.problems.append(f"{message} {hint}")


# Others read command lines, configuration files and logs.
_SECRETS: Final = frozenset({"token_key", "headers"})

_FILE_KEYS: Final = frozenset(
    {
        "database",
        "exporter",
        "endpoint",
        "commit_interval",
        "journal_max_bytes",
        "token_key_file",
        "anonymous",
        "privacy_level",
    }
)


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise ValueError("a path")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError("a path; there is no such user as in this one") from None


def _exporter(value: Any) -> str:
    if value not in ("duckdb", "otlp", "none"):
        raise ValueError("duckdb, otlp or none")
    return str(value)


def _endpoint(value: Any) -> str:
    problem = "an http:// or https:// address without user, query and fragment"
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise ValueError(problem)
    # What is not printable, or a space, would end the line of a request that it stands in.
    if not value.isascii() or not value.isprintable() or set(value) & set(" @?#"):
        raise ValueError(problem)
    try:
        has_host = bool(urlsplit(value).hostname) and urlsplit(value).port != 0
    except ValueError:  # a port that is none
        has_host = False
    if not has_host:
        raise ValueError(problem)
    return value.rstrip("/")


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    """Name=value, separated by commas, both percent-encoded, as the OTLP exporter specification says."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, str(value).split(","))):
        name, equals, text = pair.partition("=")
        name, text = unquote(name.strip()).lower(), unquote(text.strip())
        if not equals or not _HEADER_NAME.fullmatch(name) or not (text.isascii() and text.isprintable()):
            raise ValueError("name=value pairs, separated by commas and percent-encoded")
        if name in _OWN_HEADERS:
            raise ValueError(f"without {', '.join(_OWN_HEADERS)}: what is sent decides these")
        found[name] = text
    return tuple(found.items())


# RFC 9110, 5.6.2: a token.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_OWN_HEADERS: Final = ("host", "content-length", "content-encoding", "transfer-encoding")


def _timeout(value: Any) -> float:
    """Seconds, as Python's other OTLP exporters read this variable; the specification means milliseconds."""
    problem = "a number of seconds between 0.1 and 600, or of milliseconds from 1000 on"
    try:
        number = float(value)
    except ValueError:
        raise ValueError(problem) from None
    seconds = number / 1000 if number >= 1000 else number
    if not 0.1 <= seconds <= 600:
        raise ValueError(problem)
    return seconds


def _compression(value: Any) -> str:
    word = str(value).strip().lower()
    if word not in ("gzip", "none"):
        raise ValueError("gzip or none")
    return word


def _interval(value: Any) -> float:
    problem = "a number of seconds between 0.1 and 3600"
    if isinstance(value, bool):
        raise ValueError(problem)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(problem) from None
    if not 0.1 <= number <= 3600:
        raise ValueError(problem)
    return number


def _bytes(value: Any) -> int:
    problem = "a whole number of bytes, at least 1048576"
    if isinstance(value, (bool, float)):
        raise ValueError(problem)
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(problem) from None
    if not 1 << 20 <= number < 1 << 63:
        raise ValueError(problem)
    return number


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return word in ("true", "1")


def _privacy_level(value: Any) -> int:
    if isinstance(value, bool) or str(value).strip() not in ("0", "1", "2"):
        raise ValueError("0, 1 or 2")
    return int(value)


def _token_key(value: Any) -> bytes | None:
    try:
        key = str(value).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("text in UTF-8") from None
    if len(key) < MIN_TOKEN_KEY_BYTES:
        raise ValueError(f"at least {MIN_TOKEN_KEY_BYTES} bytes long")
    return key
