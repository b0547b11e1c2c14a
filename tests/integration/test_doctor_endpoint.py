"""`otel-usage doctor --endpoint` of a real `otel-usage collect`: what it finds, and that it leaves nothing behind."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.collectors import TOKEN_KEY, post, request_of, span_of
from tests.collector.doctor import doctor, trial_rows
from tests.collector.pipeline import OFTEN, Program, Receiver, receiver, running
from tests.integration.site import BIN, clean_environment, free_port, wait_for

KEY = {"OTEL_USAGE_TOKEN_KEY": TOKEN_KEY}
HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def collect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that has a row of an application in its store."""
    with receiver(tmp_path_factory.mktemp("site") / "collect") as program:
        assert (
            post(program.endpoint, json.dumps(request_of(span_of({"user_agent.original": "portal"}))).encode()) == 200
        )
        program.wait_for_rows({"portal"})
        yield program


@contextlib.contextmanager
def held(database: Path) -> Iterator[None]:
    """The store in the hands of a person with a DuckDB shell."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "held\n"
        yield
        assert shell.stdin is not None
        shell.stdin.close()


def room(database: Path) -> int:
    """How many bytes the journal of a store has left, of a mebibyte."""
    return (1 << 20) - sum(path.stat().st_size for path in Path(f"{database}.journal").glob("*.*"))


def fill(program: Receiver, body: bytes, less_than: int) -> None:
    """Send this until the journal has less room than so many bytes."""
    wait_for(lambda: post(program.endpoint, body) and room(program.store) < less_than)


def over(database: Path) -> None:
    """Wait until nobody waits any more for the trial requests in a store, all of which are committed."""
    wait_for(lambda: trial_rows(database))
    last = int(time.time())
    wait_for(lambda: time.time() > last + 3)


def test_a_whole_pipeline(collect: Receiver) -> None:
    """The row comes, its token has the id that the key known here gives, and nothing of it stays."""
    before = collect.committed()
    found = doctor([collect.endpoint], collect.store, **KEY)
    assert found.code == 0, found
    assert [check for check, _, _ in found.findings] == ["collect", "token", "removal", "pipeline"]
    assert found.verdict[1].startswith("It is whole: the row came after ")
    assert collect.committed() == before == {"portal": 1}
    report = collect.cli("report", "users", "--format", "csv")
    assert "otel-usage-doctor" not in report.stdout
    overview = json.loads(collect.cli("report", "overview", "--format", "json").stdout)[0]
    assert (overview["requests"], overview["lost"], overview["uncommitted"]) == (1, 0, 0)


def test_what_is_removed_is_counted(collect: Receiver) -> None:
    """The store's own counts explain its rows: those inserted less those removed; `doctor` finds nothing wrong."""
    doctor([collect.endpoint], collect.store, **KEY)
    facts = {name: value for name, value in collect.query("FROM store_info") if value.isdecimal()}
    ((rows,),) = collect.query("SELECT count(*) FROM requests")
    assert rows == int(facts["inserted"]) - int(facts["removed"])
    assert int(facts["lines"]) == int(facts["inserted"]) + int(facts["duplicate"]) + int(facts["rejected"])
    done = collect.cli("doctor", "--format", "json", "--database", str(collect.store))
    findings = json.loads(done.stdout)
    assert [each for each in findings if each["status"] == "attention"] == []
    assert any(f"opens: {rows} request" in each["message"] for each in findings)


def test_the_key_known_here_is_another(collect: Receiver) -> None:
    """The row comes, and one token would have two ids."""
    found = doctor([collect.endpoint], collect.store, OTEL_USAGE_TOKEN_KEY="x" * 32)
    assert found.code == 1
    assert "known here is not that of the pipeline: one token gets two ids" in found.said("token", "attention")
    assert found.verdict[0] == "ok"
    assert trial_rows(collect.store) == 0


def test_no_key_is_known_here(collect: Receiver) -> None:
    """A receiver that hashes by itself is believed."""
    found = doctor([collect.endpoint], collect.store)
    assert found.code == 0
    assert found.said("token", "ok")


def test_another_store_than_that_of_the_receiver(collect: Receiver, tmp_path: Path) -> None:
    """It is told at once, without waiting for a row that cannot come."""
    began = time.monotonic()
    found = doctor([collect.endpoint], tmp_path / "other.duckdb", seconds=60)
    assert time.monotonic() - began < 30
    assert found.verdict[0] == "attention"
    assert f"keeps another store than {tmp_path / 'other.duckdb'}" in found.verdict[1]
    assert list(tmp_path.iterdir()) == []


def test_a_store_on_another_machine(collect: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hop's answer is told, and that the row cannot be looked for; nothing is made."""
    monkeypatch.chdir(tmp_path)
    found = doctor([collect.endpoint], None)
    assert found.code == 0
    assert "took a trial request" in found.said("collect", "ok")
    assert "cannot be seen from here" in found.verdict[1]
    assert list(tmp_path.iterdir()) == []


def test_nobody_listens() -> None:
    """The first hop refuses."""
    found = doctor([f"http://127.0.0.1:{free_port()}"], None)
    assert "refuses connections" in found.said("endpoint", "attention")
    assert found.verdict[0] == "attention"


def test_a_second_hop_that_is_not_on_the_way(collect: Receiver) -> None:
    """The way of the first hop is whole: what else was named is worth a note."""
    found = doctor([collect.endpoint, f"http://127.0.0.1:{free_port()}"], collect.store, **KEY)
    assert found.code == 0
    assert "refuses connections" in found.said("hop 2", "note")


def test_a_receiver_that_wants_a_token(tmp_path: Path) -> None:
    """Without it the finding says how it is given, and with it the pipeline is whole; it is printed nowhere."""
    tokens = tmp_path / "tokens"
    tokens.write_text("s3cr3t-of-collect\n")
    with receiver(tmp_path / "collect", "--token-file", str(tokens)) as program:
        refused = doctor([program.endpoint], program.store, **KEY)
        assert "401 Unauthorized" in refused.said("collect", "attention")
        assert "OTEL_EXPORTER_OTLP_HEADERS" in refused.said("collect", "attention")
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cr3t-of-collect"}
        found = doctor([program.endpoint], program.store, **KEY, **headers)
        assert found.code == 0, found
        assert "s3cr3t" not in str(found)
        behind = doctor([program.endpoint, program.endpoint], program.store, **KEY, **headers)
        assert behind.code == 0
        assert "name it as the only --endpoint" in behind.said("collect", "note")


def test_a_store_that_somebody_holds(tmp_path: Path) -> None:
    """The trial request waits in the journal, it is said who holds the store; the next run removes the late row."""
    with receiver(tmp_path / "collect") as program:
        assert doctor([program.endpoint], program.store, **KEY).code == 0
        with held(program.store):
            found = doctor([program.endpoint], program.store, seconds=2, **KEY)
        assert found.verdict[0] == "attention"
        assert "whole up to the journal" in found.verdict[1]
        assert "held by python" in found.verdict[1]
        over(program.store)
        again = doctor([program.endpoint], program.store, **KEY)
        assert again.code == 0
        assert "earlier trial requests (1)" in again.said("removal", "note")
        assert trial_rows(program.store) == 0


def test_a_journal_that_is_full(tmp_path: Path) -> None:
    """The receiver answers 503, and its health says why."""
    with receiver(tmp_path / "collect", OTEL_USAGE_JOURNAL_MAX_BYTES=str(1 << 20)) as program:
        assert doctor([program.endpoint], program.store, **KEY).code == 0
        with held(program.store):
            for count, size in ((20, 8000), (1, 8000), (1, 10)):
                spans = [span_of({"url.path": f"/{number}/".ljust(size, "x")}) for number in range(count)]
                fill(program, json.dumps(request_of(*spans)).encode(), count * (size + 400))
            found = doctor([program.endpoint], program.store, seconds=2, **KEY)
        assert "503 Service Unavailable: its journal is full" in found.said("collect", "attention")


def test_tls(tmp_path: Path) -> None:
    """A certificate that nobody trusts, one that is trusted, and http:// where https:// is spoken."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    options = ["--listen", f"127.0.0.1:{port}", "--certificate", str(certificate), "--key", str(key)]
    command = [str(BIN / "otel-usage"), "collect", *options]
    program = Program(tmp_path, port, None, clean_environment(tmp_path, **OFTEN, **KEY), command=command)  # type: ignore[arg-type]
    with running(program):
        untrusted = doctor([url], program.store)
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in untrusted.said("endpoint", "attention")
        trusted = doctor([url], program.store, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate), **KEY)
        assert trusted.code == 0, trusted
        plain = doctor([f"http://127.0.0.1:{port}"], program.store)
        assert "https://" in plain.said("endpoint", "attention")


def test_an_address_that_is_none() -> None:
    """Which of several it is, is said; not where it may hold a credential."""
    base = [BIN / "otel-usage", "doctor", "--endpoint", f"http://127.0.0.1:{free_port()}", "--endpoint"]
    unusable = " cannot be used."
    for address, shown in (
        ("collect:4320", f" collect:4320{unusable}"),
        ("http://me:s3cr3t@a", unusable),
        ("", " is empty."),
    ):
        done = subprocess.run([*base, address], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"otel-usage: error: --endpoint{shown} It must be an http://")
        assert "s3cr3t" not in done.stderr
