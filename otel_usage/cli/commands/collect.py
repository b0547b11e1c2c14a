"""`otel-usage collect`."""

from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_usage.cli.options import Database
from otel_usage.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from otel_usage.exporter.receiver.listening import Address

_NEEDED: Final = ("starlette", "uvicorn", "httptools", "opentelemetry.proto", "prometheus_client")


def collect(
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="host:port, [::1]:port, or :port for every interface.")
    ] = "127.0.0.1:4318",
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Processes that share the work.")] = 1,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Bearer tokens, one a line: every request but GET /health must carry one.",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve TLS with this PEM file.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its key, if that is in a file of its own.", show_default=False),
    ] = None,
    max_body: Annotated[
        int, typer.Option(metavar="MIB", min=1, max=1024, help="Largest body as it is sent; beyond it 413.")
    ] = 64,
    max_decompressed: Annotated[
        int, typer.Option(metavar="MIB", min=1, max=1024, help="Largest body decompressed; beyond it 413.")
    ] = 64,
    max_attributes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most attributes of a span; one with more is rejected.")
    ] = 1024,
    max_depth: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=32, help="Deepest nesting in an attribute; a span beyond it is rejected."),
    ] = 32,
    max_requests: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most requests that wait in a worker; beyond it 503.")
    ] = 256,
    max_connections: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most clients at once of a worker; beyond it they are refused.")
    ] = 16_384,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="Longest time for a request's headers, and again for its body."),
    ] = 30.0,
    database: Database = None,
) -> None:
    """Take OTLP traces over HTTP (POST /v1/traces) and keep their requests: from a Collector, or from applications.

    Answers 200 once they are in the journal of the store. GET /health says whether it has room, GET /metrics is for
    Prometheus. Serves until SIGTERM or SIGINT.
    """
    _require_extra()
    import logging
    import os
    import signal
    from functools import partial

    from otel_usage import bootstrap, settings
    from otel_usage.cli import output, session
    from otel_usage.exporter.receiver import bearer, listening, serving
    from otel_usage.exporter.receiver import telemetry as receiver_telemetry
    from otel_usage.exporter.receiver.limits import MEBIBYTE, Limits
    from otel_usage.exporter.receiver.renewal import Renewed

    if key is not None and certificate is None:
        raise ConfigurationError("--key needs --certificate.", "Name both files.")
    # Under the launcher the receiver's own requests would be recorded like those of an application.
    bootstrap.uninstall()
    logging.basicConfig(format="otel-usage: %(message)s")
    # Whatever applications on this machine do with their records: this is where they end.
    chosen = replace(settings.load(strict=True, database=database), exporter="duckdb", is_exporter_set=True)
    address = listening.parse_address(listen)
    tokens = tls = None
    if token_file is not None:
        tokens = Renewed(f"--token-file {token_file}", [token_file], partial(bearer.read_tokens, token_file))
    if certificate is not None:
        files = [certificate] if key is None else [certificate, key]
        tls = Renewed(listening.tls_files(certificate, key), files, partial(listening.load_tls, certificate, key))
    exporters = receiver_telemetry.exporters(os.environ)
    with session.store_errors(chosen.database):
        serving.check_store(chosen)
    # From now on it says that files were replaced.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sockets = listening.listen(address)
    for secret in (token_file, key or certificate):
        if secret is not None and bearer.is_open_to_others(secret):
            output.announce(f"otel-usage: warning: other users may read {secret}.")
    _warn_if_open(address, has_token=tokens is not None, has_tls=tls is not None)
    scheme = "http" if certificate is None else "https"
    for listener in sockets:
        output.announce(f"otel-usage: listening on {_url(scheme, listener.getsockname())}, store {chosen.database}")
    raise typer.Exit(
        serving.serve(
            serving.Serving(
                settings=chosen,
                limits=Limits(
                    body_bytes=max_body * MEBIBYTE,
                    decompressed_bytes=max_decompressed * MEBIBYTE,
                    attributes=max_attributes,
                    depth=max_depth,
                    requests=max_requests,
                    connections=listening.allow_connections(max_connections),
                    client_seconds=timeout,
                ),
                workers=workers,
                tokens=tokens,
                tls=tls,
                exporters=exporters,
                announce=_tell,
            ),
            sockets,
        )
    )


def _tell(line: str) -> None:
    """Say something to whoever operates it; nobody may listen any more, as when a terminal was closed."""
    from otel_usage.cli import output

    with suppress(OSError, ValueError):
        output.announce(f"otel-usage: {line}")


def _require_extra() -> None:
    for name in _NEEDED:
        try:
            found = find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise MissingExtraError(f"The receiver needs {name}.", "Run: pip install 'otel-usage[collect]'")


def _warn_if_open(address: "Address", *, has_token: bool, has_tls: bool) -> None:
    from otel_usage.cli import output

    missing = " and no ".join(
        name for name, is_there in (("--token-file", has_token), ("--certificate", has_tls)) if not is_there
    )
    if missing and not address.is_loopback():
        output.announce(f"otel-usage: warning: others reach this address, and there is no {missing}.")


def _url(scheme: str, name: tuple[str, int]) -> str:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"
