"""Whatever happens to the receiver, its store or its disk: what it has acknowledged is there, once."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.collect.receiving import Client, Receiving, body_of, receiving
from tests.integration.site import free_port, wait_for

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def kept_once(receiver: Receiving, *clients: Client) -> None:
    """Each acknowledged span has one row, and no row is double."""
    rows = receiver.rows()
    assert len(rows) == len(set(rows))
    acknowledged = {number for client in clients for number in client.acknowledged}
    assert acknowledged
    assert acknowledged <= set(rows)


@contextlib.contextmanager
def held(store: Path):
    """Another process has the store open to write."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.communicate("")


def test_a_worker_is_killed_again_and_again(tmp_path):
    """Another takes its place; clients that come again lose nothing."""
    with receiving(tmp_path, "--workers", "2") as receiver:
        with Client(receiver, 0) as one, Client(receiver, 1_000_000) as two:
            for _ in range(4):
                one.wait_for(200)
                victim = wait_for(lambda: receiver.workers())[0]
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda victim=victim: victim not in (now := receiver.workers()) and len(now) == 2)
        kept_once(receiver, one, two)
        assert receiver.log.count("another takes its place") == 4


@pytest.mark.parametrize("workers", ["1", "2"])
def test_everything_is_killed(tmp_path, workers):
    """The whole receiver is killed amid requests, three times, and started again on the same address."""
    address = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as clients:
        sending: list[Client] = []
        for _ in range(3):
            with receiving(tmp_path, "--workers", workers, listen=address) as receiver:
                if not sending:
                    sending = [clients.enter_context(Client(receiver, number)) for number in (0, 1_000_000)]
                sending[0].wait_for(400)
                os.killpg(receiver.process.pid, signal.SIGKILL)
                receiver.process.wait(60)
    kept_once(receiver, *sending)


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """The first process alone is killed: its workers finish and let go of the address."""
    with receiving(tmp_path, "--workers", "2") as receiver:
        assert receiver.post(body_of(range(10))).status == 200
        workers = receiver.workers()
        os.kill(receiver.process.pid, signal.SIGKILL)
        receiver.process.wait(60)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        assert receiver.committed() == list(range(10))
        with receiving(tmp_path / "next", listen=f"127.0.0.1:{receiver.port}") as successor:
            assert successor.post(body_of([1])).status == 200


def test_a_store_that_others_hold(tmp_path):
    """Another DuckDB holds the store: requests are acknowledged all the same, their rows come when it lets go."""
    with receiving(tmp_path) as receiver:
        receiver.post(body_of(range(5)))
        wait_for(lambda: receiver.store.exists() and receiver.rows() == list(range(5)))
        with held(receiver.store):
            assert receiver.post(body_of(range(5, 10))).status == 200
            assert receiver.ask("GET", "/health").status == 200
            wait_for(lambda: json.loads(receiver.ask("GET", "/health").body)["pending_records"] == 5)
        wait_for(lambda: receiver.committed() == list(range(10)))


def test_a_store_that_is_held_when_it_starts(tmp_path):
    """It starts, and commits once it can."""
    with receiving(tmp_path) as receiver:
        receiver.post(body_of([1]))
        receiver.rows()
    with held(receiver.store) as holder, receiving(tmp_path) as receiver:
        assert receiver.post(body_of([2])).status == 200
        holder.communicate("")
        wait_for(lambda: receiver.committed() == [1, 2])


def test_a_full_journal(tmp_path):
    """At its bound it answers 503 with Retry-After, and tells so; when there is room again everything is taken."""
    with receiving(tmp_path, OTEL_USAGE_JOURNAL_MAX_BYTES=str(1 << 20)) as receiver:
        receiver.post(body_of(range(10)))
        receiver.rows()
        with held(receiver.store), Client(receiver, 1000, batch=500) as client:
            wait_for(lambda: 503 in client.statuses)
            wait_for(lambda: receiver.ask("GET", "/health").status == 503)
            told = json.loads(receiver.ask("GET", "/health").body)
            assert told["status"] == "unavailable"
            assert told["pending_records"] >= len(client.acknowledged) > 0
        # The store is free again.
        with Client(receiver, 1_000_000) as later:
            wait_for(lambda: len(later.acknowledged) > 100)
        kept_once(receiver, client, later)
        wait_for(lambda: receiver.ask("GET", "/health").status == 200)


def fill(ballast: Path) -> None:
    """Leave nothing of a disk."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk(tmp_path):
    """While the disk is full it answers 503; with room again the same requests are taken, and nothing is double."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()} (run the tests as root)")
    try:
        with receiving(tmp_path / "receiver", OTEL_USAGE_DATABASE=str(disk / "usage.duckdb")) as receiver:
            with Client(receiver, 0) as client:
                wait_for(lambda: len(client.acknowledged) > 200)
                fill(disk / "ballast")
                wait_for(lambda: 503 in client.statuses)
                wait_for(lambda: receiver.ask("GET", "/health").status == 503)
                (disk / "ballast").unlink()
                client.wait_for(200)
            assert client.statuses == {200, 503}
            kept_once(receiver, client)
            assert "Traceback" not in receiver.log
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_receiver_beside_an_application(tmp_path):
    """Two receivers on one store: one leads, both acknowledge, each span is one row though both got it."""
    with receiving(tmp_path) as one, receiving(tmp_path / "two", OTEL_USAGE_DATABASE=str(one.store)) as two:
        for numbers in (range(10), range(10, 20), range(5, 15)):
            assert one.post(body_of(numbers)).status == 200
            assert two.post(body_of(numbers)).status == 200
        assert one.rows() == list(range(20))
