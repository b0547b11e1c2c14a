"""Certificates and tokens that are replaced while the receiver runs: the new ones are used, and no client notices."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.integration.collect.receiving import PROTOBUF, Client, Receiving, ask, body_of, command, receiving
from tests.integration.site import wait_for

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
OLD, NEW = "the-old-token", "the-new-token"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates that sign themselves, and their keys."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("old", "new"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
            ],
            check=True,
            capture_output=True,
        )
    return folder


def replace(path: Path, content: bytes) -> None:
    """As certbot and editors do."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o600)
    new.replace(path)


def install(certificates: Path, name: str, folder: Path) -> None:
    """Put certificate and key, one after the other, where the receiver reads them."""
    replace(folder / "tls.pem", (certificates / f"{name}.pem").read_bytes())
    replace(folder / "tls.key", (certificates / f"{name}.key").read_bytes())


def shown(receiver: Receiving) -> str:
    """The certificate that a new client is shown."""
    return ssl.get_server_certificate(("127.0.0.1", receiver.port), timeout=30)


def is_shown(receiver: Receiving, certificate: Path) -> bool:
    """Whether every worker shows it, as far as that can be seen from outside."""
    return {shown(receiver) for _ in range(12)} == {certificate.read_text()}


@WORKERS
def test_a_certificate_is_renewed(tmp_path, certificates, workers):
    """New clients are shown the new one, those that are connected stay so, whoever sends loses nothing."""
    install(certificates, "old", tmp_path)
    files = ["--certificate", "tls.pem", "--key", "tls.key"]
    with receiving(tmp_path, *files, "--workers", workers) as receiver:
        receiver.context = ssl.create_default_context(cafile=certificates / "old.pem")
        with contextlib.closing(receiver.connect()) as connection, Client(receiver, 1000) as client:
            assert ask(connection, "GET", "/health").status == 200
            before = connection.sock
            client.wait_for(100)
            processes = receiver.workers()
            install(certificates, "new", tmp_path)
            wait_for(lambda: is_shown(receiver, certificates / "new.pem"))
            client.wait_for(100)
            assert ask(connection, "POST", "/v1/traces", body_of([1]), Content_Type=PROTOBUF).status == 200
            assert connection.sock is before
        receiver.context.load_verify_locations(certificates / "new.pem")
        assert receiver.post(body_of([2])).status == 200
        assert client.statuses == {200}
        assert receiver.workers() == processes
        assert receiver.rows() == [1, 2, *client.acknowledged]
        wait_for(lambda: "was loaded again" in receiver.log)
        assert receiver.stop() == 0
        assert receiver.log.splitlines()[1:] == [
            "otel-usage: --certificate tls.pem and --key tls.key was loaded again."
        ]


@WORKERS
def test_a_certificate_that_cannot_be_used(tmp_path, certificates, workers):
    """The old one stays, by a worker that is started meanwhile too; the log says once why, never what is in it."""
    install(certificates, "old", tmp_path)
    files = ["--certificate", "tls.pem", "--key", "tls.key"]
    with receiving(tmp_path, *files, "--workers", workers) as receiver:
        install(certificates, "new", tmp_path)
        wait_for(lambda: "was loaded again" in receiver.log and is_shown(receiver, certificates / "new.pem"))
        replace(tmp_path / "tls.key", (certificates / "old.key").read_bytes())
        wait_for(lambda: "stays in use" in receiver.log)
        if workers == "2":
            os.kill(receiver.workers()[0], signal.SIGKILL)
            wait_for(lambda: "another takes its place" in receiver.log and len(receiver.workers()) == 2)
        assert is_shown(receiver, certificates / "new.pem")
        (tmp_path / "tls.key").unlink()
        wait_for(lambda: receiver.log.count("stays in use") == 2)
        assert is_shown(receiver, certificates / "new.pem")
        install(certificates, "old", tmp_path)
        wait_for(lambda: is_shown(receiver, certificates / "old.pem"))
        told = [line for line in receiver.log.splitlines() if "stays in use" in line]
        assert len(told) == 2, told
        assert "KEY_VALUES_MISMATCH" in told[0]
        assert "No such file" in told[1]
        assert all("--key tls.key cannot be used" in line for line in told)
        assert "PRIVATE KEY" not in receiver.log


def test_no_client_meets_half_a_certificate(tmp_path, certificates):
    """However often they are replaced, one after the other, each client that comes is served."""
    install(certificates, "old", tmp_path)
    with receiving(tmp_path, "--certificate", "tls.pem", "--key", "tls.key") as receiver:
        receiver.context = ssl.create_default_context(cafile=certificates / "old.pem")
        receiver.context.load_verify_locations(certificates / "new.pem")
        for number in range(40):
            replace(tmp_path / "tls.pem", (certificates / f"{('old', 'new')[number % 2]}.pem").read_bytes())
            os.kill(receiver.process.pid, signal.SIGHUP)
            assert receiver.ask("GET", "/health").status == 200
            install(certificates, ("old", "new")[number % 2], tmp_path)
            os.kill(receiver.process.pid, signal.SIGHUP)
            assert receiver.ask("GET", "/health").status == 200


def mounted(folder: Path, name: str, tokens: str) -> None:
    """A secret as Kubernetes mounts it: a link into a folder that is a link itself, which is replaced."""
    (folder / name).mkdir()
    (folder / name / "tokens").write_text(tokens)
    (folder / name / "tokens").chmod(0o600)
    (folder / "..data_tmp").symlink_to(name)
    (folder / "..data_tmp").replace(folder / "..data")
    if not (folder / "tokens").is_symlink():
        (folder / "tokens").symlink_to("..data/tokens")


def statuses(receiver: Receiving, token: str) -> set[int]:
    """What is answered to this token, by all workers as far as that can be seen from outside."""
    return {receiver.ask("GET", "/metrics", Authorization=f"Bearer {token}").status for _ in range(12)}


@WORKERS
@pytest.mark.parametrize("hang_up", [False, True], ids=["", "SIGHUP"])
def test_tokens_are_replaced(tmp_path, workers, hang_up):
    """The file says who may send: while both are in it both may, and who is no more in it may no more."""
    mounted(tmp_path, "one", OLD)
    with receiving(tmp_path, "--token-file", "tokens", "--workers", workers) as receiver:
        assert (statuses(receiver, OLD), statuses(receiver, NEW)) == ({200}, {401})
        for number, (name, tokens, old) in enumerate((("two", f"{OLD}\n{NEW}", 200), ("three", NEW, 401)), start=1):
            mounted(tmp_path, name, tokens)
            if hang_up:
                os.kill(receiver.process.pid, signal.SIGHUP)
            wait_for(lambda: statuses(receiver, NEW) == {200})
            wait_for(lambda old=old: statuses(receiver, OLD) == {old})
            wait_for(lambda number=number: receiver.log.count("was loaded again") == number)
        loaded = [line for line in receiver.log.splitlines() if "was loaded again" in line]
        assert loaded == ["otel-usage: --token-file tokens was loaded again."] * 2
        (tmp_path / "three" / "tokens").write_text("two words\n")
        wait_for(lambda: "stays in use" in receiver.log)
        assert statuses(receiver, NEW) == {200}
        assert receiver.stop() == 0
        assert not [word for word in (OLD, NEW, "two words") if word in receiver.log]


@WORKERS
def test_sighup_ends_nothing(tmp_path, workers):
    """With nothing to load, from the first line on, to every process, amid requests."""
    with receiving(tmp_path, "--workers", workers) as receiver:
        os.killpg(receiver.process.pid, signal.SIGHUP)
        wait_for(lambda: receiver.ask("GET", "/health").status == 200)
        processes = receiver.workers()
        with Client(receiver, 0) as client:
            for _ in range(20):
                os.killpg(receiver.process.pid, signal.SIGHUP)
                client.wait_for(20)
        assert client.statuses == {200}
        assert receiver.workers() == processes
        assert receiver.rows() == client.acknowledged
        assert receiver.stop() == 0
        assert receiver.log.count("\n") == 1, receiver.log


def test_nobody_reads_the_log(tmp_path):
    """Where a terminal was closed the receiver goes on, and what it would say ends nothing."""
    mounted(tmp_path, "one", OLD)
    arguments, variables = command(tmp_path, "--listen", "127.0.0.1:0", "--token-file", "tokens", "--workers", "2")
    process = subprocess.Popen(
        arguments, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stderr is not None
    port = int(re.findall(r"listening on http\S+:(\d+)", process.stderr.readline())[0])
    process.stderr.close()
    receiver = Receiving(tmp_path, process, port, variables)
    try:
        wait_for(lambda: len(receiver.workers()) == 2)
        os.kill(receiver.workers()[0], signal.SIGKILL)
        mounted(tmp_path, "two", NEW)
        wait_for(lambda: statuses(receiver, NEW) == {200})
        assert receiver.post(b"xyz", Authorization=f"Bearer {NEW}").status == 400
        assert receiver.post(body_of([1]), Authorization=f"Bearer {NEW}").status == 200
        receiver.stop()
        assert receiver.committed() == [1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
