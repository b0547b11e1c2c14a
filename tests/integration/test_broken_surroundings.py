"""Whatever is wrong around it, an instrumented application answers every request, and what was lost is counted."""

import json
import subprocess

import pytest

from tests.integration.site import Site, serve, wait_for

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "flask_app:app"]


def answers_all(site: Site, count: int = 100) -> None:
    """Every request is answered as without us."""
    for number in range(count):
        assert site.ask("GET", f"/claims/{number}").status == 200, site.log


def test_bad_settings_are_logged_once_and_defaulted(tmp_path):
    """Settings that cannot be used are named in the log, and the defaults keep every request."""
    (tmp_path / "otel-usage.toml").write_text('privacy_level = 9\ncolour = "red"\n')
    bad = {"OTEL_USAGE_COMMIT_INTERVAL": "often", "OTEL_USAGE_EXPORTER": "carrier-pigeon"}
    with serve(tmp_path, "flask_app.py", GUNICORN, **bad) as site:
        answers_all(site)
        site.stop()
        log = site.log
    for part in ("OTEL_USAGE_COMMIT_INTERVAL", "often", "privacy_level", "colour", "carrier-pigeon"):
        assert part in log
    for variable in bad:
        del site.environment[variable]
    (tmp_path / "otel-usage.toml").unlink()
    assert len(site.read_rows()) == 100


def test_unreadable_settings_file(tmp_path):
    """A file that is no TOML is named in the log, and nothing else changes."""
    (tmp_path / "otel-usage.toml").write_text("this is = = not toml")
    with serve(tmp_path, "flask_app.py", GUNICORN) as site:
        answers_all(site)
        site.stop()
        assert "otel-usage.toml" in site.log
    (tmp_path / "otel-usage.toml").unlink()
    assert len(site.read_rows()) == 100


def test_a_folder_that_cannot_be(tmp_path):
    """Where no journal can be made every request is answered, and the log says why nothing is kept."""
    (tmp_path / "file").write_text("in the way")
    database = str(tmp_path / "file" / "usage.duckdb")
    with serve(tmp_path / "app", "flask_app.py", GUNICORN, OTEL_USAGE_DATABASE=database) as site:
        answers_all(site)
        site.stop()
        assert "Traceback" not in site.log
        assert database in site.log


def test_a_key_that_cannot_be_read(tmp_path):
    """Without a deployment key the rows are there, their tokens have no id, and that is counted."""
    with serve(tmp_path, "flask_app.py", GUNICORN, OTEL_USAGE_TOKEN_KEY_FILE=str(tmp_path / "key")) as site:
        (tmp_path / "key").mkdir()
        for number in range(20):
            site.ask("GET", f"/claims/{number}", {"X-API-Key": "k" * 30})
        site.stop()
        rows = site.read_rows()
        query = "select sum(records) as n from losses where reason = 'token_unidentified'"
        counted = site.cli("sql", query, "--format", "json")
    assert [(row["token_id"], row["token_scheme"]) for row in rows] == [(None, "api_key")] * 20
    assert json.loads(counted.stdout) == [{"n": 20}]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.strip()} (run the tests as root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk(tmp_path, small_disk):
    """On a full disk every request is answered; rows and counted losses add up to what was asked."""
    database = str(small_disk / "usage.duckdb")
    asked = 1500
    with serve(tmp_path / "app", "flask_app.py", GUNICORN, OTEL_USAGE_DATABASE=database) as site:
        answers_all(site, asked)
        site.stop()
        log = site.log
        assert "Traceback" not in log
        # There is room again: the journal is read where it is, the store is made on a larger disk.
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        wait_for(lambda: site.cli("sync").returncode == 0)
        overview = json.loads(site.cli("report", "overview", "--format", "json").stdout)[0]
    assert overview["requests"] + overview["lost"] == asked
    assert overview["lost"] > 0
    assert overview["uncommitted"] == 0
