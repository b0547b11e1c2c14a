"""The tables in docs/ that are made from the rows of a run, and what is known of requests, framework by framework.

They are written anew by `pytest --update-docs`: those of docs/frameworks.md on tests/integration/frameworks,
tests/integration/identity and tests/integration/test_wrap.py, those of docs/reliability.md on tests/integration/faults.
Every other run compares.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration import cases
from tests.integration.site import Site

DOCS = Path(__file__).parents[2] / "docs"
FRAMEWORKS, RELIABILITY = DOCS / "frameworks.md", DOCS / "reliability.md"
YES, NO = "yes", "no"


def of_framework(site: Site, *, told: bool) -> list[str]:
    """A framework's cells: route, operation, user, session, bytes, streaming, WebSocket.

    Args:
        site: The application after all cases.
        told: Whether the application always learns of a client that leaves; other frameworks do by chance.
    """
    view = site.row_of("view")
    create, download = site.row_of("create"), site.row_of("download")
    counted = create["request_bytes"] == 12345 and download["response_bytes"] == 5000
    return [
        "derived" if view["route"] == cases.DERIVED_ROUTES["view"] else "template",
        _yes(view["operation"]),
        {"framework": YES, "header": "`REMOTE_USER`"}.get(view["user_source"], NO),
        _yes(any(row["token_scheme"] == "session" for row in site.rows)),
        _yes(counted),
        "yes, and who left" if told and site.row_of("walk-away")["error_type"] else YES,
        _yes(any(row["user_agent"] == "feed" and row["status_code"] == 101 for row in site.rows)),
    ]


def check_libraries(site: Site, framework: str, libraries: Mapping[str, str], *, update: bool) -> None:
    """The table of identity libraries says what the rows of requests that they let in say.

    Args:
        site: The application with these libraries.
        framework: Its framework.
        libraries: Name of a library, with what of it is used -> the case that it let in.
        update: Whether to write instead of to compare.
    """
    for library, case in libraries.items():
        check("libraries", library, [framework, *_of_library(site.row_of(case))], update=update)


def _of_library(row: Mapping[str, Any]) -> list[str]:
    user = row["user_source"] == "framework" and row["user_id"]
    return [_yes(user), _yes(user and row["user_name"]), row["token_scheme"] or NO, _yes(row["token_name"])]


def check(table: str, label: str, cells: list[str], *, update: bool, page: Path = FRAMEWORKS) -> None:
    """The page's table has this row; `update` writes it.

    Args:
        table: Its name in the page's markers.
        label: The first cell.
        cells: The others.
        update: Whether to write instead of to compare.
        page: Where the table is.
    """
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(f"<!-- table {table} -->\n")
    body, end, after = rest.partition(f"<!-- end of table {table} -->")
    assert start, f"{page} has no table {table}"
    assert end, f"{page}'s table {table} has no end"
    head, rows = body.splitlines()[:2], body.splitlines()[2:]
    line = f"| {' | '.join([label, *cells])} |"
    if update:
        others = [row for row in rows if not row.startswith(f"| {label} |")]
        lines = [*head, *sorted([*others, line], key=str.lower)]
        page.write_text(before + start + "\n".join(lines) + "\n" + end + after, encoding="utf-8")
    else:
        assert line in rows, f"{page} does not say {line}; run this test with --update-docs"


def _yes(fact: object) -> str:
    return YES if fact else NO
