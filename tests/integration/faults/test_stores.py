"""What others do to the store while applications serve: hold, remove, replace, fill its disk, share it, migrate it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess

import duckdb
import pytest

from otel_usage.errors import StoreError
from otel_usage.exporter.commit import commit_turn
from otel_usage.exporter.committer import drain
from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.statements import migrations
from tests.integration.faults.surroundings import (
    GUNICORN,
    ask,
    ask_at_once,
    asked,
    backlog,
    committed,
    finished_segments,
    held,
    lost,
    overview,
    paths,
    segment,
    totals,
)
from tests.integration.site import serve, wait_for
from tests.unit.exporter.support import line, numbers, paths_of, python

OFTEN = {"OTEL_USAGE_COMMIT_INTERVAL": "0.1"}


def ask_for_intervals(site, first: int, intervals: int = 20) -> int:
    """Requests until so many segments wait; the number after the last."""
    number, waiting = first, finished_segments(site) + intervals
    while finished_segments(site) < waiting:
        ask(site, number)
        number += 1
    return number


def test_held_for_many_intervals(tmp_path):
    """Another program holds the store: nothing is lost, the log says who, once, and so does doctor."""
    with serve(tmp_path, "flask_app.py", GUNICORN, **OFTEN) as site:
        ask_at_once(site, range(50))
        wait_for(lambda: committed(site) == 50)
        with held(site.store) as holder:
            end = ask_for_intervals(site, 50)
            assert site.log.count(f"PID {holder.pid}") == 1, site.log
            assert f"PID {holder.pid}" in site.cli("doctor").stdout
        wait_for(lambda: committed(site) == end)
        site.stop()
        assert asked(site.read_rows()) == list(range(end))


def everything(store: StorePaths):
    return [store.database, store.write_ahead_log, store.journal, store.lock]


REMOVED = {
    "store": lambda store: [store.database],
    "store and log": lambda store: [store.database, store.write_ahead_log],
    "journal": lambda store: [store.journal],
    "lock": lambda store: [store.lock],
    "everything": everything,
}


@pytest.mark.parametrize("what", REMOVED)
def test_removed_while_applications_serve(tmp_path, what):
    """Whoever removes something loses what was in it, no more; what is written into a removed segment is counted."""
    with serve(tmp_path, "flask_app.py", GUNICORN, **OFTEN) as site:
        ask_at_once(site, range(100))
        wait_for(lambda: committed(site) == 100)
        remove(*REMOVED[what](paths(site)))
        ask_at_once(site, range(100, 200))
        site.stop()
        numbers = asked(site.read_rows())
        counted = lost(site)
    kept = [] if what in ("store", "store and log", "everything") else list(range(100))
    assert [number for number in numbers if number < 100] == kept
    assert len(numbers) == len(set(numbers))
    assert len(numbers) - len(kept) + counted.pop("write_error", 0) == 100
    assert not counted
    if what not in ("journal", "everything"):
        assert numbers == [*kept, *range(100, 200)]


def remove(*found) -> None:
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def text(path):
    path.write_text("minutes of the meeting\n" * 1000)


def empty(path):
    path.write_bytes(b"")


def folder(path):
    path.mkdir()


@pytest.mark.parametrize("other", [text, empty, folder])
def test_replaced_by_what_is_no_store(tmp_path, other):
    """A file that is no store is left as it is while records wait, and the log names it; put right, all are there."""
    with serve(tmp_path, "flask_app.py", GUNICORN, **OFTEN) as site:
        ask_at_once(site, range(50))
        wait_for(lambda: committed(site) == 50)
        site.store.rename(tmp_path / "aside")
        other(site.store)
        before = site.store.read_bytes() if site.store.is_file() else sorted(site.store.iterdir())
        end = ask_for_intervals(site, 50, intervals=5)
        assert (site.store.read_bytes() if site.store.is_file() else sorted(site.store.iterdir())) == before
        assert f"{site.store}" in site.log
        assert site.cli("doctor").returncode == 1
        remove(site.store)
        (tmp_path / "aside").rename(site.store)
        wait_for(lambda: committed(site) == end)
        site.stop()
        assert asked(site.read_rows()) == list(range(end))


def test_replaced_by_another_store(tmp_path):
    """What is asked while another store stands in its place is in that one, everything else in the first, once."""
    with serve(tmp_path, "flask_app.py", GUNICORN, **OFTEN) as site:
        ask_at_once(site, range(50))
        wait_for(lambda: committed(site) == 50)
        shutil.copy(site.store, tmp_path / "other")
        site.store.rename(tmp_path / "aside")
        (tmp_path / "other").rename(site.store)
        ask_at_once(site, range(50, 100))
        wait_for(lambda: committed(site) == 100)
        site.store.rename(tmp_path / "other")
        (tmp_path / "aside").rename(site.store)
        ask_at_once(site, range(100, 150))
        wait_for(lambda: committed(site) == 100)
        site.stop()
        assert asked(site.read_rows()) == [*range(50), *range(100, 150)]
    assert totals(tmp_path / "other")["inserted"] == 100


@contextlib.contextmanager
def mounted(folder, options: str):
    """A file system of its own at this folder."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()} (run the tests as root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_a_file_system_that_is_read_only(tmp_path):
    """All is answered and a report still reads; rows and losses are what was asked once it can be written again."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        database = str(disk / "usage.duckdb")
        with serve(tmp_path / "before", "flask_app.py", GUNICORN, OTEL_USAGE_DATABASE=database) as site:
            ask_at_once(site, range(50))
            site.stop()
            assert overview(site)["requests"] == 50
        segment(paths_of(disk), line(1))
        remount(disk, "ro")
        with serve(tmp_path / "app", "flask_app.py", GUNICORN, OTEL_USAGE_DATABASE=database, **OFTEN) as site:
            ask_at_once(site, range(50, 150))
            assert (overview(site)["requests"], overview(site)["uncommitted"]) == (50, 1)
            assert "Traceback" not in site.log
            assert database in site.log
            assert "Read-only file system" in site.cli("doctor").stdout
            remount(disk, "rw")
            # A process tells its losses with the next record it can keep, a second after it last tried.
            asking = 150
            told: set[int] = set()
            while len(told) < 2:
                ask(site, asking)
                asking += 1
                told |= kept_by(paths_of(disk)) - {os.getpid()}
            site.stop()
            seen = overview(site)
        assert seen["requests"] + seen["lost"] == asking + 1
        assert seen["lost"] >= 100


def kept_by(store: StorePaths) -> set[int]:
    """Processes that have a segment."""
    found: set[int] = set()
    for path in store.segments():
        with contextlib.suppress(FileNotFoundError):  # committed meanwhile
            found.update(int(pid) for pid in re.findall(rb'"pid":(\d+)', path.read_bytes()[:200]))
    return found


@pytest.mark.parametrize("there", ["a new store", "a store that grows"])
def test_a_disk_that_is_full_when_the_store_grows(tmp_path, there):
    """Wherever in a commit the room ends, what is committed is whole, and the rest waits until there is more room."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        store = paths_of(disk)
        if there == "a store that grows":
            backlog(store, 1000)
            commit_turn(store)
            backlog(store, 31_000)
        else:
            backlog(store, 30_000)
        rows = 31_000 if there == "a store that grows" else 30_000
        used = shutil.disk_usage(disk).used
        failures = 0
        for room in range(0, 16 << 20, 256 << 10):
            remount(disk, f"size={used + room}")
            try:
                drain(store)
                break
            except (StoreError, OSError):
                failures += 1
        assert failures >= 2
        assert numbers(disk) == list(range(1, rows + 1))
        stored = totals(store.database)
        assert stored["inserted"] == rows
        assert stored["lines"] == stored["inserted"] + stored["duplicate"] + stored["rejected"]
        assert store.segments() == []


def test_applications_on_a_disk_that_is_full_when_the_store_grows(tmp_path):
    """While no commit has room the applications serve; with room again rows and losses are what was asked."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        backlog(paths_of(disk), 20_000)
        used = shutil.disk_usage(disk).used
        remount(disk, f"size={used + (200 << 10)}")
        database = str(disk / "usage.duckdb")
        with serve(tmp_path / "app", "flask_app.py", GUNICORN, OTEL_USAGE_DATABASE=database, **OFTEN) as site:
            ask_at_once(site, range(300))
            wait_for(lambda: "Usage records wait in the journal" in site.log)
            assert "Traceback" not in site.log
            remount(disk, "size=64m")
            ask_at_once(site, range(300, 400))
            wait_for(lambda: duckdb_count(database) >= 20_100)
            site.stop()
            seen = overview(site)
        assert seen["requests"] + seen["lost"] == 20_000 + 400
        assert len(set(numbers(disk))) == seen["requests"]


def duckdb_count(database: str) -> int:
    try:
        with duckdb.connect(database, read_only=True) as connection:
            (count,) = connection.execute("SELECT count(*) FROM requests").fetchone() or (0,)
            return int(count)
    except duckdb.Error:
        return 0


def test_the_journal_at_its_bound(tmp_path):
    """With the store held and the journal full what is dropped is counted, doctor warns at half; sums agree."""
    bound = {"OTEL_USAGE_JOURNAL_MAX_BYTES": str(1 << 20), **OFTEN}
    with serve(tmp_path, "flask_app.py", GUNICORN, **bound) as site:
        ask_at_once(site, range(50))
        wait_for(lambda: committed(site) == 50)
        with held(site.store):
            asking = 50
            while journal_bytes(site) < (1 << 19):
                ask_at_once(site, range(asking, asking + 100))
                asking += 100
            at_half = site.cli("doctor").stdout
            while "reached its bound" not in site.log:
                ask_at_once(site, range(asking, asking + 200))
                asking += 200
            ask_at_once(site, range(asking, asking + 100))
            asking += 100
            assert "not in the store's count yet" in site.cli("doctor").stdout
        assert re.search(r"^attention +journal .* of 1048576 bytes", at_half, re.MULTILINE), at_half
        wait_for(lambda: not finished_segments(site))
        before = wait_for(lambda: committed(site))
        while committed(site) <= before:  # a process looks at the bound once an interval
            ask(site, asking)
            asking += 1
        site.stop()
        seen = overview(site)
        assert seen["requests"] + seen["lost"] == asking
        assert seen["lost"] > 0
        assert lost(site) == {"journal_full": seen["lost"]}
        assert "journal_full" in site.cli("doctor").stdout
        rows = asked(site.read_rows())
    assert len(rows) == len(set(rows))


def journal_bytes(site) -> int:
    return sum(path.stat().st_size for path in paths(site).segments() if path.exists())


def test_two_deployments_with_one_store(tmp_path):
    """Two applications with keys of their own write one store: each request is one row, doctor says what is wrong."""
    database = str(tmp_path / "shared" / "usage.duckdb")
    first = {"OTEL_USAGE_DATABASE": database, "OTEL_USAGE_TOKEN_KEY": "a" * 32, **OFTEN}
    second = {**first, "OTEL_USAGE_TOKEN_KEY": "b" * 32}
    uvicorn = ["uvicorn", "--port", "{port}", "fastapi_app:app"]
    token = {"Authorization": "Bearer tok-0123456789abcdefghij"}
    with (
        serve(tmp_path / "one", "flask_app.py", GUNICORN, **first) as one,
        serve(tmp_path / "two", "fastapi_app.py", uvicorn, **second) as two,
    ):
        one.ask("GET", "/claims/0", token)
        wait_for(lambda: duckdb_count(database) == 1)
        two.ask("GET", "/claims/1000", token)
        ask_at_once(one, range(1, 200))
        ask_at_once(two, range(1001, 1200))
        wait_for(lambda: duckdb_count(database) == 400)
        one.stop(signal.SIGKILL)
        ask_at_once(two, range(1200, 1300))
        two.stop()
        said = [site.cli("doctor").stdout for site in (one, two)]
        done = two.cli("sync")
        assert done.returncode == 0, done.stderr
    assert "The deployment key is that of the store" in said[0]
    assert "The deployment key is not that of the store" in said[1]
    with duckdb.connect(database, read_only=True) as connection:
        found = connection.execute("SELECT path, token_id FROM requests").fetchall()
    assert sorted(int(path.rpartition("/")[2]) for path, _ in found) == [*range(200), *range(1000, 1300)]
    assert len({token_id for _, token_id in found if token_id}) == 2


ANOTHER_USER = """
import os, sys
from pathlib import Path
from otel_usage.exporter.recorder import Recorder
from tests.unit.exporter.support import record, settings_of
warm = Recorder(settings_of(Path(sys.argv[1]) / "warm", interval=0.1))
warm.write(record(0))  # imports what this user may not read later
warm.shutdown()
os.umask(0o022)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
recorder = Recorder(settings_of(Path(sys.argv[1]), interval=0.1))
for number in range(1000, 1010):
    recorder.write(record(number))
recorder.force_flush(20_000)
recorder.shutdown()
"""


@pytest.mark.parametrize("shared", [False, True])
def test_two_users_with_one_store(tmp_path_factory, shared):
    """A user who may not write the journal is told so in the log; one who may, but may not read what others wrote,
    commits what is his, and theirs waits.
    """
    if os.getuid():
        pytest.skip("only root can be two users")
    folder = reachable(tmp_path_factory.mktemp("users"))
    try:
        if shared:
            folder.chmod(0o777)
        journal = paths_of(folder).journal
        backlog(paths_of(folder), 10)
        journal.chmod(0o777 if shared else 0o700)
        for path in paths_of(folder).segments():
            path.chmod(0o600)
        process = python(ANOTHER_USER, folder)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0
        assert (str(paths_of(folder).journal) in complaints) is not shared, complaints
        if shared:
            assert numbers(folder) == list(range(1000, 1010))
        drain(paths_of(folder))
        assert numbers(folder) == [*range(1, 11), *(range(1000, 1010) if shared else ())]
    finally:
        shutil.rmtree(folder)


def reachable(folder):
    """A folder that other users can come to: pytest's own are closed to them."""
    import tempfile
    from pathlib import Path

    folder.rmdir()
    made = Path(tempfile.mkdtemp(prefix="otel-usage-users-"))
    made.chmod(0o755)
    return made


def store_of_schema(store: StorePaths, version: int, rows: int) -> None:
    """A store as a version of this package that knew only so many migrations has left it."""
    store.database.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(store.database), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        for migration in migrations()[:version]:
            connection.execute(migration.sql)
            values = [migration.version, migration.name]
            connection.execute("INSERT INTO schema_migrations VALUES (?, ?, now()::TIMESTAMP)", values)
        connection.execute(
            "INSERT INTO requests (start_time, duration_ns, trace_id, span_id, method, path)"
            " SELECT make_timestamp(1790000000000000 + n * 1000), 1500000, uuid(), n, 'GET', '/old/' || n"
            f" FROM range({rows}) AS numbers(n)"
        )


def test_an_older_schema_is_migrated_while_applications_write(tmp_path):
    """Two applications start on a store without the latest migration: it is migrated once, and all rows are there."""
    store = StorePaths.of(tmp_path / "shared" / "usage.duckdb")
    latest = migrations()[-1].version
    store_of_schema(store, latest - 1, rows=500)
    settings = {"OTEL_USAGE_DATABASE": str(store.database), **OFTEN}
    with (
        serve(tmp_path / "one", "flask_app.py", GUNICORN, **settings) as one,
        serve(tmp_path / "two", "flask_app.py", GUNICORN, **settings) as two,
    ):
        ask_at_once(one, range(200))
        ask_at_once(two, range(200, 400))
        wait_for(lambda: duckdb_count(str(store.database)) == 900)
        one.stop()
        two.stop()
        assert overview(one)["requests"] == 900
    with duckdb.connect(str(store.database), read_only=True) as connection:
        applied = connection.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()
        (old,) = connection.execute("SELECT count(*) FROM usage WHERE path LIKE '/old/%'").fetchone() or (0,)
    assert applied == [(version,) for version in range(1, latest + 1)]
    assert old == 500


def test_a_reader_of_a_store_that_is_not_migrated_yet(tmp_path):
    """Before an application has migrated it a report of an older store either works or says what to do."""
    from tests.integration.site import Site, clean_environment

    store_of_schema(paths_of(tmp_path), migrations()[-1].version - 1, rows=5)
    site = Site(tmp_path, 0, None, clean_environment(tmp_path))  # type: ignore[arg-type]
    done = site.cli("report", "overview", "--format", "json")
    if done.returncode:
        assert done.returncode == 3
        assert "schema" in done.stderr.lower()
        assert "Catalog Error" not in done.stderr
    else:
        assert overview(site)["requests"] == 5


@pytest.mark.parametrize("version", range(1, migrations()[-1].version))
def test_every_older_schema_is_migrated(tmp_path, version):
    """However few migrations a store has had, the first commit makes up for the rest and keeps its rows."""
    store = paths_of(tmp_path)
    if version < 2:
        store_of_schema_without_rows(store)
    else:
        store_of_schema(store, version, rows=5)
    segment(store, line(100))
    drain(store)
    assert numbers(tmp_path) == [*(range(5) if version > 1 else ()), 100]


def store_of_schema_without_rows(store: StorePaths) -> None:
    with duckdb.connect(str(store.database)) as connection:
        connection.execute(migrations()[0].sql)
        connection.execute("INSERT INTO schema_migrations VALUES (1, 'schema_migrations', now()::TIMESTAMP)")
