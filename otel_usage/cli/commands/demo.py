"""`otel-usage demo`."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_usage.errors import OtelUsageError

if TYPE_CHECKING:
    from otel_usage.demo.driver import Outcome

_SHOWN: Final = ("tokens", "resources", "users")


def demo(
    requests: Annotated[int, typer.Option(metavar="N", min=1, help="How many requests to send.")] = 3000,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the store is left; emptied of the last demo first.")
    ] = Path("otel-usage-demo"),
) -> None:
    """Run an example portal, send it requests, and show who used what: nothing else needs to be running."""
    from otel_usage.cli import output
    from otel_usage.demo import driver
    from otel_usage.demo.directory import DATABASE

    output.announce(f"Starting the example portal; its log is {directory / 'server.log'}")
    outcome = driver.run(directory, requests, output.working)
    typer.echo("\n".join(_summary(outcome)))
    problem = outcome.problem()
    if problem:
        raise OtelUsageError(problem, f"The server's log may say more: {directory / 'server.log'}")
    database = directory / DATABASE
    for name in _SHOWN:
        _show(name, database, driver.environment(directory.absolute()))
    typer.echo("\n".join(_next(database)))


def _summary(outcome: "Outcome") -> Iterator[str]:
    yield f"Sent {outcome.sent.answered + outcome.sent.failed} requests:"
    for kind, count in outcome.sent.kinds.most_common():
        yield f"{count:>8}  {kind}"
    classes = ", ".join(f"{count} x {name}" for name, count in outcome.sent.status_classes().items())
    yield f"Answered: {outcome.sent.answered} ({classes})"
    yield f"No answer: {outcome.sent.failed}"
    yield f"Stored: {outcome.stored}"
    yield f"lost: {outcome.lost}"


def _show(name: str, database: Path, environ: dict[str, str]) -> None:
    """Run the very command that is printed, so that what is shown is what the reader will get."""
    from otel_usage.demo.portal import script

    arguments = ["report", name, "--database", str(database), "--limit", "5"]
    typer.echo(f"\n$ {shlex.join(['otel-usage', *arguments])}")
    if subprocess.run([script("otel-usage"), *arguments], env=environ, check=False).returncode:
        raise OtelUsageError(f"The report {name} failed.", "The line above says why.")


def _next(database: Path) -> Iterator[str]:
    yield "\nThe store stays. Next, try:"
    for arguments in (
        ["report", "overview"],
        ["report", "operations", "--sort", "p95_ms", "--limit", "10"],
        ["report", "timeline", "--by", "hour", "--where", "action=download"],
        ["report", "latest", "--where", "status_code=500"],
        ["sql", "SELECT user_name, count(*) FROM usage WHERE is_error GROUP BY ALL ORDER BY ALL"],
    ):
        yield f"  {shlex.join(['otel-usage', *arguments, '--database', str(database)])}"
    yield f"  {shlex.join(['duckdb', str(database), 'FROM usage LIMIT 5'])}"
