"""How the receiver starts, what it refuses to start with, where it listens, whom it lets in, and how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import duckdb
import pytest

from otel_usage.exporter.statements import migrations
from tests.integration.collect.receiving import (
    JSON,
    PROTOBUF,
    Client,
    ask,
    body_of,
    command,
    receiving,
)
from tests.integration.site import free_port, wait_for

TOKEN = "a-token-of-the-collector"


def refused(directory, *options: str, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of a receiver that does not start; standard output must stay empty."""
    arguments, variables = command(directory, *options, **environment)
    done = subprocess.run(arguments, cwd=directory, env=variables, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_the_first_line(tmp_path):
    """It says where it listens and which store it fills, on standard error; nothing else is said, or made."""
    with receiving(tmp_path) as receiver:
        assert re.fullmatch(
            rf"otel-usage: listening on http://127\.0\.0\.1:{receiver.port}, store {receiver.store}\n", receiver.log
        )
        assert not receiver.store.exists()
        assert receiver.stop() == 0
        assert receiver.log.count("\n") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigint_ends_it_as_a_shell_expects(tmp_path, workers):
    """Control-C, which all processes get: everything is kept and committed, the exit code is 130, no traceback."""
    with receiving(tmp_path, "--workers", workers) as receiver:
        assert receiver.post(body_of(range(10))).status == 200
        os.killpg(receiver.process.pid, signal.SIGINT)
        assert receiver.process.wait(60) == 130
        assert receiver.log.count("\n") == 1, receiver.log
        assert receiver.committed() == list(range(10))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_during_load(tmp_path, workers):
    """What was acknowledged is committed when the process is gone; clients get 503 or a closed connection, no error."""
    with receiving(tmp_path, "--workers", workers) as receiver:
        with Client(receiver, 0) as one, Client(receiver, 1_000_000) as two:
            wait_for(lambda: len(one.acknowledged) > 500 and len(two.acknowledged) > 500)
            assert receiver.stop() == 0
        assert one.statuses | two.statuses <= {200, 503}
        rows = receiver.committed()
        assert len(rows) == len(set(rows))
        assert {*one.acknowledged, *two.acknowledged} <= set(rows)
        assert receiver.log.count("\n") == 1, receiver.log


def test_a_request_in_flight_is_answered(tmp_path):
    """A body that is still coming when SIGTERM does is taken, and its sender answered."""
    body = body_of(range(1000))
    with receiving(tmp_path) as receiver:
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as client:
            head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {len(body)}\r\n"
            client.sendall(head.encode() + b"\r\n" + body[:100])
            wait_for(lambda: b"http_server_active_requests 2.0" in receiver.ask("GET", "/metrics").body)
            os.kill(receiver.process.pid, signal.SIGTERM)
            wait_for(lambda: refuses(receiver.port))
            client.sendall(body[100:])
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert receiver.process.wait(60) == 0
        assert receiver.committed() == list(range(1000))


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_the_port_is_in_use(tmp_path):
    """Exit code 2, one line that names the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, said = refused(tmp_path, "--listen", address)
    assert (code, address in said) == (2, True), said


BAD_OPTIONS = {
    "no address": (["--listen", "4318"], "--listen"),
    "no port": (["--listen", "127.0.0.1:http"], "--listen"),
    "an address that is not ours": (["--listen", "192.0.2.1:0"], "192.0.2.1"),
    "a bare IPv6 address": (["--listen", "::1:4318"], "--listen"),
    "a host with an empty part": (["--listen", "a..b:80"], "a..b:80"),
    "no token file": (["--token-file", "missing"], "missing"),
    "an empty token file": (["--token-file", "empty"], "no token"),
    "a token with a space": (["--token-file", "spaced"], "header"),
    "no certificate": (["--certificate", "missing"], "missing"),
    "a certificate that is none": (["--certificate", "empty"], "empty"),
    "a key alone": (["--key", "empty"], "--certificate"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_used(tmp_path, case):
    """Exit code 2 and one line that names what is wrong."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "spaced").write_text("two words\n")
    options, named = BAD_OPTIONS[case]
    code, said = refused(tmp_path, *options)
    assert (code, named in said) == (2, True), said


def test_settings_that_cannot_be_used(tmp_path):
    """They are refused as by every command."""
    assert refused(tmp_path, OTEL_USAGE_COMMIT_INTERVAL="never")[0] == 2
    assert refused(tmp_path, OTEL_USAGE_TOKEN_KEY_FILE="/dev/null")[0] == 2
    code, said = refused(tmp_path, OTEL_METRICS_EXPORTER="zipkin")
    assert (code, "zipkin" in said) == (2, True), said


def test_stores_that_cannot_be_used(tmp_path):
    """Another's, a damaged and a newer store are refused with 3; nothing is listened to."""
    store = tmp_path / "usage.duckdb"
    with duckdb.connect(str(store)) as connection:
        connection.execute("CREATE TABLE theirs (a INTEGER)")
    assert refused(tmp_path)[0] == 3
    store.write_bytes(b"no database" * 1000)
    assert refused(tmp_path)[0] == 3
    store.unlink()
    with duckdb.connect(str(store)) as connection:
        for migration in migrations():
            connection.execute(migration.sql)
            values = [migration.version, migration.name]
            connection.execute("INSERT INTO schema_migrations VALUES (?, ?, now()::TIMESTAMP)", values)
        connection.execute("INSERT INTO schema_migrations VALUES (999, 'later', now()::TIMESTAMP)")
    code, said = refused(tmp_path)
    assert (code, "999" in said) == (3, True), said


def test_the_extra_is_not_installed(tmp_path):
    """It names the pip line."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['uvicorn'] = None\n")
    arguments, variables = command(tmp_path)
    done = subprocess.run(
        arguments,
        env={**variables, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "pip install 'otel-usage[collect]'" in done.stderr


def test_other_addresses(tmp_path):
    """IPv6, a name, every interface: the last is warned of."""
    with receiving(tmp_path / "six", listen="[::1]:0") as receiver:
        assert "http://[::1]:" in receiver.log
        with socket.create_connection(("::1", receiver.port), timeout=10):
            pass
    with receiving(tmp_path / "name", listen="localhost:0") as receiver:
        assert receiver.ask("GET", "/health").status == 200
        assert "warning" not in receiver.log
    with receiving(tmp_path / "all", listen=f":{free_port()}") as receiver:
        assert receiver.ask("GET", "/health").status == 200
        assert "warning: others reach this address, and there is no --token-file and no --certificate" in receiver.log


def test_bearer_tokens(tmp_path):
    """Without a known token traces and metrics are 401, health is told; no token is logged."""
    (tmp_path / "tokens").write_text(f"{TOKEN}\nanother-token\n")
    (tmp_path / "tokens").chmod(0o600)
    with receiving(tmp_path, "--token-file", "tokens") as receiver:
        for header in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": ""},
        ):
            answer = receiver.post(body_of([1]), **header)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert receiver.post(b"", JSON, **header).status == 401
        assert receiver.ask("GET", "/metrics").status == 401
        assert receiver.ask("GET", "/health").status == 200
        assert receiver.post(body_of([2]), Authorization=f"Bearer {TOKEN}").status == 200
        assert receiver.post(body_of([3]), Authorization="bearer  another-token ").status == 200
        assert receiver.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
        assert receiver.rows() == [2, 3]
        _, told = receiver.log.splitlines()
        assert "was answered 401" in told
        assert TOKEN not in receiver.log


def test_a_token_file_that_others_may_read(tmp_path):
    """It is used, since mounted secrets often are so, and warned of."""
    (tmp_path / "tokens").write_text(TOKEN)
    (tmp_path / "tokens").chmod(0o644)
    with receiving(tmp_path, "--token-file", "tokens") as receiver:
        assert "warning: other users may read tokens" in receiver.log
        assert TOKEN not in receiver.log


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls(tmp_path, certificate, workers):
    """Clients that trust the certificate are served; without TLS nobody is; a key that does not fit is refused."""
    files = ["--certificate", str(certificate / "certificate.pem"), "--key", str(certificate / "key.pem")]
    with receiving(tmp_path, *files, "--workers", workers) as receiver:
        assert "https://127.0.0.1:" in receiver.log
        assert not receiver.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP")
        receiver.context = ssl.create_default_context(cafile=certificate / "certificate.pem")
        with contextlib.closing(receiver.connect()) as connection:
            for number in range(5):
                answer = ask(connection, "POST", "/v1/traces", body_of([number]), Content_Type=PROTOBUF)
                assert answer.status == 200
        assert receiver.rows() == list(range(5))
        assert receiver.stop() == 0
        assert receiver.log.count("\n") == 1, receiver.log


def test_clients_that_say_nothing_in_tls(tmp_path, certificate):
    """They are bounded in number and time as others are, though nothing of TLS is agreed on."""
    files = ["--certificate", str(certificate / "certificate.pem"), "--key", str(certificate / "key.pem")]
    bounds = ["--max-connections", "5", "--timeout", "1"]
    with receiving(tmp_path, *files, *bounds) as receiver, contextlib.ExitStack() as clients:
        silent = [
            clients.enter_context(socket.create_connection(("127.0.0.1", receiver.port), timeout=30)) for _ in range(30)
        ]
        wait_for(lambda: sum(map(is_closed, silent)) == 25)
        wait_for(lambda: all(map(is_closed, silent)))
        receiver.context = ssl.create_default_context(cafile=certificate / "certificate.pem")
        for number in range(10):
            assert receiver.post(body_of([number])).status == 200
        assert b"otel_usage_receiver_connections_refused_total 25.0" in receiver.ask("GET", "/metrics").body
        assert receiver.rows() == list(range(10))


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_key_that_others_may_read(tmp_path, certificate):
    """It is used and warned of, as a token file is; a file without a key is refused, and told in words."""
    for name in ("key.pem", "certificate.pem"):
        (tmp_path / name).write_bytes((certificate / name).read_bytes())
        (tmp_path / name).chmod(0o644)
    with receiving(tmp_path, "--certificate", "certificate.pem", "--key", "key.pem") as receiver:
        assert receiver.log.startswith("otel-usage: warning: other users may read key.pem.\n")
    code, said = refused(tmp_path, "--certificate", "certificate.pem")
    assert (code, "a key in PEM is missing" in said, "_ssl.c" in said) == (2, True, False), said


def test_a_key_with_a_password_is_refused(tmp_path, certificate):
    """It would have to be typed; nobody is asked."""
    key = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "ec", "-in", certificate / "key.pem", "-out", key, "-aes256", "-passout", "pass:secret"],
        check=True,
        capture_output=True,
    )
    code, said = refused(tmp_path, "--certificate", str(certificate / "certificate.pem"), "--key", str(key))
    assert (code, "password" in said) == (2, True), said


def test_it_never_records_itself(tmp_path):
    """Under the launcher, with every instrumentation installed, only what was sent becomes a row."""
    with receiving(tmp_path, launcher=True, OTEL_TRACES_EXPORTER="none") as receiver:
        for number in range(5):
            assert receiver.post(body_of([number])).status == 200
        receiver.ask("GET", "/health")
        assert receiver.rows() == list(range(5))


def test_it_does_not_forward_to_itself(tmp_path):
    """What tells applications to send their records away does not concern the receiver, where they end."""
    with receiving(
        tmp_path, OTEL_USAGE_EXPORTER="otlp", OTEL_USAGE_ENDPOINT=f"http://127.0.0.1:{free_port()}"
    ) as receiver:
        assert receiver.post(body_of(range(3))).status == 200
        wait_for(lambda: receiver.store.exists())
        receiver.stop()
        assert receiver.committed() == [0, 1, 2]


def test_metrics_through_the_sdk(tmp_path):
    """With the standard variable the receiver's metrics go where it says, under the field's names."""
    with receiving(tmp_path, OTEL_METRICS_EXPORTER="console", OTEL_METRIC_EXPORT_INTERVAL="200") as receiver:
        assert receiver.post(body_of(range(7))).status == 200
        assert receiver.post(b"xyz").status == 400
        receiver.stop()
        names = dict(exported(receiver.log))
    assert names["service.name"] == "otel-usage-collect"
    assert names["otel_usage.receiver.spans"] == [({"otel_usage.span.outcome": "accepted"}, 7)]
    statuses = {point["http.response.status_code"] for point, _ in names["http.server.request.duration"]}
    assert statuses == {200, 400}
    assert names["otel_usage.records.written"] == [({}, 7)]
    assert {"http.server.active_requests", "otel_usage.commit.duration"} <= names.keys()


def exported(log: str):
    """The last value of each metric that the console exporter has printed."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"^\{", log, re.MULTILINE):
        told, _ = decoder.raw_decode(log[match.start() :])
        for of_resource in told["resource_metrics"]:
            yield "service.name", of_resource["resource"]["attributes"]["service.name"]
            for scope in of_resource["scope_metrics"]:
                for metric in scope["metrics"]:
                    points = metric["data"]["data_points"]
                    yield metric["name"], [(p["attributes"], p.get("value", p.get("count"))) for p in points]


def test_metrics_of_all_workers(tmp_path):
    """Whichever worker is asked tells the sum of all, also of one that was killed."""
    with receiving(tmp_path, "--workers", "2") as receiver:
        threads = [threading.Thread(target=receiver.post, args=(body_of(range(n, n + 5)),)) for n in range(0, 200, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = b'otel_usage_receiver_spans_total{otel_usage_span_outcome="accepted"} 200.0'
        assert all(told in receiver.ask("GET", "/metrics").body for _ in range(10))
        os.kill(receiver.workers()[0], signal.SIGKILL)
        wait_for(lambda: "another takes its place" in receiver.log)
        assert all(told in receiver.ask("GET", "/metrics").body for _ in range(10))
