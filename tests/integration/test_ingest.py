"""`otel-usage ingest` as people and scripts run it: exit codes, standard input, following, killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from otel_usage.exporter.journal import Journal
from otel_usage.exporter.leadership import leader_pid
from otel_usage.exporter.store import connect_read_only
from tests.unit.exporter.exported import FORMATS, TOKEN, line, lines, zstd
from tests.unit.exporter.support import line as journal_line
from tests.unit.exporter.support import losses, numbers, paths_of, wait_until

COMMAND = [sys.executable, "-m", "otel_usage.cli.main", "ingest"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a process whose store is in this folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ours = {"OTEL_USAGE_DATABASE": str(folder / "usage.duckdb"), "OTEL_USAGE_COMMIT_INTERVAL": "0.2"}
    return {**inherited, **ours, **more}


def ingest(
    folder: Path, *arguments: object, stdin: bytes = b"", command: Sequence[str] = COMMAND, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    """The command, run to its end."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=folder,
        env=environment(folder, **variables),
        timeout=120,
        check=False,
    )


@contextmanager
def running(
    folder: Path, *arguments: object, command: Sequence[str] = COMMAND, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """The command, in the background."""
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder, **variables),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def committed(folder: Path) -> list[int]:
    """The span ids in the store, none as long as there is no store."""
    if not paths_of(folder).database.exists():
        return []
    with connect_read_only(paths_of(folder).database) as connection:
        return [number for (number,) in connection.execute("SELECT span_id FROM requests ORDER BY ALL").fetchall()]


def said_besides(stderr: bytes) -> list[bytes]:
    """Lines of a command, without that a commit met a look into the store, as of a test that waits for rows."""
    return [line for line in stderr.splitlines() if b" is held by " not in line]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder that a Collector writes to."""
    folder = tmp_path / "exported"
    folder.mkdir()
    return folder


def test_what_a_script_sees(tmp_path: Path, source: Path) -> None:
    """One line of summary on standard output, everything else on standard error, 0 for good and 1 for bad."""
    path = source / "spans.jsonl"
    path.write_bytes(lines([1, 2]))
    done = ingest(tmp_path, path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"1 file, 2 spans: 2 requests (2 new rows, 0 already there), 0 other spans, 0 rejected\n"
    path.write_bytes(lines([1, 2]) + b"no json with " + TOKEN.encode() + b"\n")
    done = ingest(tmp_path, path)
    assert done.returncode == 1
    assert done.stdout == (
        b"1 file, 0 spans: 0 requests (0 new rows, 0 already there), 0 other spans, 0 rejected, 1 bad message\n"
    )
    told, noted, _ = done.stderr.split(b"\n")
    assert told.startswith(f"{path}:3: ".encode())
    assert noted.startswith(f"Where bad messages stand is noted in {paths_of(tmp_path).rejected};".encode())
    assert TOKEN.encode() not in done.stderr


def test_what_a_script_sees_of_files_read_again(tmp_path: Path, source: Path) -> None:
    """What was read before is nothing new; in another file it is there already; and what is no request is neither."""
    path, copy = source / "spans.jsonl", source / "copy.jsonl"
    other = line(4).replace(b'"kind":2', b'"kind":3')
    path.write_bytes(lines([1, 2, 3]) + other + b"\n")
    copy.write_bytes(lines([3, 2, 1, 5]))
    assert ingest(tmp_path, path).stdout == (
        b"1 file, 4 spans: 3 requests (3 new rows, 0 already there), 1 other span, 0 rejected\n"
    )
    assert ingest(tmp_path, path).stdout == b"0 files, 0 spans: nothing new\n"
    assert ingest(tmp_path, copy).stdout == (
        b"1 file, 4 spans: 4 requests (1 new row, 3 already there), 0 other spans, 0 rejected\n"
    )


def test_a_file_by_several_names(tmp_path: Path, source: Path) -> None:
    """It is read once, whatever it is called, by a link too."""
    (source / "spans.jsonl").write_bytes(lines([1, 2]))
    (source / "link").symlink_to(source / "spans.jsonl")
    done = ingest(tmp_path, source / "spans.jsonl", source / "link", source / ".." / "exported" / "spans.jsonl")
    assert done.stdout == b"1 file, 2 spans: 2 requests (2 new rows, 0 already there), 0 other spans, 0 rejected\n"


def test_wrong_usage(tmp_path: Path) -> None:
    """No file, or what cannot be followed, is wrong usage; a missing file fails; none of them makes a store."""
    os.mkfifo(tmp_path / "fifo")
    wrong = ((), ("--follow", "-"), ("--follow", "fifo"), ("missing",))
    assert [ingest(tmp_path, *arguments).returncode for arguments in wrong] == [2, 2, 2, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


@pytest.mark.parametrize(
    ("named", "file"),
    [("spans.jsonl", "spans.jsonl"), ("exported", "exported/a.jsonl"), ("far/away/a.jsonl", "far/away/a.jsonl")],
)
def test_following_what_is_not_there_yet(tmp_path: Path, named: str, file: str) -> None:
    """It is said once, and read as soon as it is there; what never comes is a failure in the end."""
    with running(tmp_path, "--follow", named, "never.jsonl") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"{named} is not there: it is read as soon as it is.\n".encode()
        assert process.stderr.readline() == b"never.jsonl is not there: it is read as soon as it is.\n"
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.write_bytes(lines([1, 2]))
        wait_until(lambda: committed(tmp_path) == [1, 2])
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, said_besides(stderr)) == (1, [])
    assert stdout.endswith(b", 1 not read\n")


def test_a_fifo(tmp_path: Path) -> None:
    """A named pipe is read to its end, once."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with running(tmp_path, fifo) as process:
        fifo.write_bytes(lines([1, 2]))
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, b"")
    assert stdout == b"1 file, 2 spans: 2 requests (2 new rows, 0 already there), 0 other spans, 0 rejected\n"


def test_beside_a_process_that_writes(tmp_path: Path, source: Path) -> None:
    """What others have committed meanwhile is not claimed: either it cannot be mixed up, or nothing is said."""
    (source / "spans.jsonl").write_bytes(lines([1, 2]))
    ingest(tmp_path, source / "spans.jsonl")
    (source / "more.jsonl").write_bytes(lines([2, 3]))
    journal = Journal(paths_of(tmp_path), max_bytes=1 << 30)
    journal.append(journal_line(9))
    journal.close()
    assert b"2 requests (new or already there: not known)" in ingest(tmp_path, source / "more.jsonl").stdout
    assert numbers(tmp_path) == [1, 2, 3, 9]


@pytest.mark.parametrize("kind", FORMATS)
def test_standard_input(tmp_path: Path, kind: str) -> None:
    """Every format comes through a pipe, compressed or not."""
    assert ingest(tmp_path, "-", stdin=FORMATS[kind]([1, 2])).returncode == 0
    assert ingest(tmp_path, "-", stdin=zstd.compress(FORMATS[kind]([3]))).returncode == 0
    assert numbers(tmp_path) == [1, 2, 3]


def test_standard_input_is_kept_as_it_comes(tmp_path: Path) -> None:
    """What comes through a pipe that stays open is committed long before its end."""
    with running(tmp_path, "-") as process:
        assert process.stdin is not None
        for number in (1, 2, 3):
            process.stdin.write(lines([number]))
            process.stdin.flush()
            wait_until(lambda number=number: committed(tmp_path)[-1:] == [number])
        process.stdin.write(line(4)[:-9])
        process.stdin.close()
        process.stdin = None
        assert process.wait(60) == 1
        _, stderr = process.communicate()
    assert b"-:4: " in stderr
    assert numbers(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_following_until_it_is_ended(tmp_path: Path, source: Path, with_signal: int) -> None:
    """What is written, rotated and written anew is committed within moments; a signal ends it well."""
    path = source / "spans.jsonl"
    path.write_bytes(lines([1]))
    with running(tmp_path, "--follow", source) as process:
        wait_until(lambda: committed(tmp_path) == [1])
        assert leader_pid(paths_of(tmp_path)) == process.pid
        with path.open("ab") as file:
            file.write(lines([2]) + line(3)[:40])
        wait_until(lambda: committed(tmp_path) == [1, 2])
        with path.open("ab") as file:
            file.write(line(3)[40:] + b"\n")
        path.rename(source / "spans-2026-11-21T09-26-29.501-size.jsonl")
        path.write_bytes(lines([4]))
        wait_until(lambda: committed(tmp_path) == [1, 2, 3, 4])
        process.send_signal(with_signal)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout == b"2 files, 4 spans: 4 requests (4 new rows, 0 already there), 0 other spans, 0 rejected\n"


@pytest.mark.parametrize("follow", [False, True], ids=["once", "followed"])
def test_killed_at_any_moment(tmp_path: Path, source: Path, follow: bool) -> None:
    """SIGKILL again and again while files are read and written: in the end every span is one row."""
    moments = random.Random(6)
    arguments = ["--follow", source] if follow else [source]
    path, number = source / "spans.jsonl", 0
    for second in range(6):
        with path.open("ab") as file, running(tmp_path, *arguments) as process:
            wait_until(lambda: paths_of(tmp_path).journal.exists() or process.poll() is not None)
            until = time.monotonic() + moments.uniform(0.0, 0.9)
            while time.monotonic() < until:
                file.write(line(*range(number + 1, number + 51)) + b"\n")
                file.flush()
                number += 50
            process.send_signal(signal.SIGKILL)
        if second % 3 == 2:
            path.rename(source / f"spans-2026-11-21T09-26-{second:02d}.501-size.jsonl")
    done = ingest(tmp_path, source)
    assert (done.returncode, done.stderr) == (0, b"")
    assert numbers(tmp_path) == list(range(1, number + 1))
    assert ingest(tmp_path, source).stdout == b"0 files, 0 spans: nothing new\n"
    assert set(losses(tmp_path)) <= {"torn_line"}  # of a journal segment, whose request was read again


# Positions are saved whenever they are known, not once a second.
SAVING = """
from otel_usage.cli.main import run
from otel_usage.exporter.ingest import following

following._SAVE_SECONDS = 0.0
run()
"""
EAGER = [sys.executable, "-c", SAVING, "ingest"]
FULL = {"OTEL_USAGE_JOURNAL_MAX_BYTES": str(1 << 20)}


@pytest.fixture
def much(tmp_path: Path, source: Path) -> Path:
    """More requests than a journal of a mebibyte has room for, and a store that has another one."""
    (tmp_path / "first.jsonl").write_bytes(lines([20_000]))
    assert ingest(tmp_path, tmp_path / "first.jsonl").returncode == 0
    (source / "spans.jsonl").write_bytes(b"".join(line(*range(n, n + 10)) + b"\n" for n in range(1, 6001, 10)))
    return source


@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_store_that_is_held_for_too_long(tmp_path: Path, much: Path, named: str) -> None:
    """What the journal had no room for in time is read by the next run."""
    files = much if named == "folder" else much / "spans.jsonl"
    with duckdb.connect(str(paths_of(tmp_path).database)):
        done = ingest(tmp_path, files, "--timeout", "0.5", command=EAGER, **FULL)
        assert done.returncode == 3 and b"bound" in done.stderr
        assert b"requests (new or already there: not known)" in done.stdout
    assert ingest(tmp_path, files).returncode == 0
    assert numbers(tmp_path) == [*range(1, 6001), 20_000]
    assert ingest(tmp_path, files).stdout == b"0 files, 0 spans: nothing new\n"


def test_following_ends_while_the_journal_is_full(tmp_path: Path, much: Path) -> None:
    """The same where a signal ends the wait."""
    database, arguments = paths_of(tmp_path).database, ("--follow", much, "--timeout", "0.5")
    with duckdb.connect(str(database)), running(tmp_path, *arguments, command=EAGER, **FULL) as process:
        assert process.stderr is not None
        while b"Waiting: " not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert ingest(tmp_path, much).returncode == 0
    assert numbers(tmp_path) == [*range(1, 6001), 20_000]


def test_more_files_than_may_be_open(tmp_path: Path, source: Path) -> None:
    """Once and followed: files of many hosts, of which each may grow."""
    limited = ["sh", "-c", 'ulimit -n 128 && exec "$@"', "sh", *COMMAND]
    paths = [source / f"host{number}.jsonl" for number in range(1, 201)]
    for number, path in enumerate(paths, start=1):
        path.write_bytes(lines([number]))
    done = ingest(tmp_path, source, command=limited)
    assert (done.returncode, done.stderr) == (0, b"")
    with (
        running(tmp_path, "--follow", *paths, command=limited) as by_name,
        running(tmp_path, "--follow", source, command=limited) as process,
    ):
        for number in (1, 100, 200):
            with paths[number - 1].open("ab") as file:
                file.write(lines([1000 + number]))
        wait_until(lambda: len(committed(tmp_path)) == 203)
        for each in (process, by_name):
            each.send_signal(signal.SIGTERM)
            _, stderr = each.communicate(timeout=60)
            assert (each.returncode, said_besides(stderr)) == (0, [])
    assert numbers(tmp_path) == [*range(1, 201), 1001, 1100, 1200]


def test_two_at_once(tmp_path: Path, source: Path) -> None:
    """Two runs over the same files at the same time give every row once."""
    (source / "spans.jsonl").write_bytes(b"".join(line(*range(n, n + 100)) + b"\n" for n in range(1, 5001, 100)))
    with running(tmp_path, source) as first, running(tmp_path, source / "spans.jsonl") as second:
        assert (first.wait(60), second.wait(60)) == (0, 0)
    assert numbers(tmp_path) == list(range(1, 5001))


def test_permission_is_no_traceback(tmp_path: Path, source: Path) -> None:
    """A file that may not be read is told, the others are read."""
    (source / "a.jsonl").write_bytes(lines([1]))
    (source / "b.jsonl").write_bytes(lines([2]))
    (source / "b.jsonl").chmod(0)
    done = ingest(tmp_path, source)
    if os.geteuid() == 0:  # nothing is forbidden to root
        assert (done.returncode, numbers(tmp_path)) == (0, [1, 2])
    else:
        assert (done.returncode, numbers(tmp_path)) == (1, [1])
        assert done.stderr == f"{source / 'b.jsonl'}: Permission denied\n".encode()


def test_whatever_applications_do_with_their_records(tmp_path: Path, source: Path) -> None:
    """Where those of this machine forward, ingested ones still go into the store that is named."""
    (source / "spans.jsonl").write_bytes(lines([1, 2]))
    done = ingest(tmp_path, source, OTEL_USAGE_EXPORTER="otlp", OTEL_USAGE_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert committed(tmp_path) == [1, 2]
    assert not list(tmp_path.glob("*.journal/forwarding.json"))


def test_a_file_that_is_no_store(tmp_path: Path, source: Path) -> None:
    """It is refused before anything is made beside it."""
    (source / "spans.jsonl").write_bytes(lines([1, 2]))
    (tmp_path / "usage.duckdb").write_bytes(b"x" * 20_000)
    before = sorted(tmp_path.iterdir())
    assert ingest(tmp_path, source).returncode == 3
    assert sorted(tmp_path.iterdir()) == before
