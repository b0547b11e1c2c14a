"""The SQL files of this package, read once. What they mean is written in them."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

_PACKAGE: Final = files("otel_usage.exporter")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of `schema/`."""

    version: int
    name: str
    sql: str


@cache
def statement(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (_PACKAGE / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def migrations() -> tuple[Migration, ...]:
    """Every migration in its order."""
    paths = sorted((_PACKAGE / "schema").iterdir(), key=lambda path: path.name)
    found = (path for path in paths if path.name.endswith(".sql"))
    return tuple(Migration(int(path.name[:4]), path.name[5:-4], path.read_text(encoding="utf-8")) for path in found)
