"""The settings: one frozen object, read from the environment and `otel-usage.toml`.

The only reader of `os.environ` and of that file. What a setting does is decided where it is used.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from otel_usage.errors import ConfigurationError

CONFIG_FILE: Final = "otel-usage.toml"
MIN_TOKEN_KEY_BYTES: Final = 32

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, with absolute paths.

    Attributes:
        database: The store, a DuckDB file.
        exporter: "duckdb" keeps records; "none" only sets attributes on spans.
        endpoint: OTLP/HTTP base endpoint.
        commit_interval_seconds: Longest time a record waits for its commit.
        journal_max_bytes: Bound of the journal; newest records beyond it are dropped and counted.
        token_key: The deployment key from the environment, or None: then `token_key_file` holds it.
        token_key_file: Where the deployment key is read, and made on first use.
        anonymous: Whether requests with neither token nor user are kept.
        privacy_level: 0 full client address, 1 truncated (/24, /48), 2 none and no country.
        sdk_disabled: OTEL_SDK_DISABLED: nothing is instrumented.
        problems: What could not be used and was defaulted, a line each (always empty when read strictly).
    """

    database: Path
    exporter: str
    endpoint: str
    commit_interval_seconds: float
    journal_max_bytes: int
    token_key: bytes | None = field(repr=False)
    token_key_file: Path
    anonymous: bool
    privacy_level: int
    sdk_disabled: bool
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
    return Settings(
        database=path,
        exporter=reader.get("exporter", "duckdb", _exporter),
        endpoint=reader.get("endpoint", "http://127.0.0.1:4318", _endpoint),
        commit_interval_seconds=reader.get("commit_interval", 5.0, _interval),
        journal_max_bytes=reader.get("journal_max_bytes", 1 << 30, _bytes),
        token_key=reader.get("token_key", None, _token_key),
        token_key_file=reader.get("token_key_file", path.with_name(f"{path.name}.key"), _path),
        anonymous=reader.get("anonymous", True, _boolean),
        privacy_level=reader.get("privacy_level", 1, _privacy_level),
        sdk_disabled=reader.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true",
        problems=tuple(reader.problems),
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
                shown = "" if key == "token_key" else f" = {value!r}"
                self.refuse(f"{where}{shown} cannot be used.", f"It must be {error}.")
        return default

    def refuse(self, message: str, hint: str) -> None:
        if self.strict:
            raise ConfigurationError(message, hint)
        self.problems.append(f"{message} {hint}")


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
    if value not in ("duckdb", "none"):
        raise ValueError("duckdb or none")
    return str(value)


def _endpoint(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise ValueError("an http:// or https:// address")
    return value.rstrip("/")


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
