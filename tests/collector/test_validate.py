"""Every file of collector-config/ is valid, and its README says what is in them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from otel_usage.cli.main import app
from tests.collector.collectors import CONFIG, clean_environment

README = (CONFIG / "README.md").read_text()
FILES = ("agent", "agent-files", "gateway")
VARIABLE = re.compile(r"\$\{env:(\w+)(?::-([^}]*))?\}")
UNITS = sorted((CONFIG / "systemd").glob("*.service"))


def read(name: str) -> Any:
    """A YAML file of the folder."""
    return yaml.safe_load((CONFIG / name).read_text())


def test_validate(collector_binary: Path) -> None:
    """The Collector would start with each configuration."""
    environment = {**clean_environment(), "OTELCOL": str(collector_binary)}
    done = subprocess.run([CONFIG / "validate"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["valid: agent", "valid: gateway", "valid: agent with agent-files"]


def test_invalid(collector_binary: Path, tmp_path: Path) -> None:
    """A configuration with a mistake makes the script fail."""
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    gateway = tmp_path / "gateway.yaml"
    gateway.write_text(gateway.read_text().replace("filter/traces:", "filter/trace:"))
    environment = {**clean_environment(), "OTELCOL": str(collector_binary)}
    done = subprocess.run([tmp_path / "validate"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stdout.splitlines() == ["valid: agent"]


def test_variables() -> None:
    """The table of the README has every variable, the files that read it, and its defaults."""
    found: dict[str, dict[str, str]] = {}
    for name in FILES:
        for variable, default in VARIABLE.findall((CONFIG / f"{name}.yaml").read_text()):
            assert found.setdefault(variable, {}).setdefault(name, default) == default
    told = {
        cells[1].strip(" `"): (cells[2].strip(), cells[3].strip())
        for cells in (line.split("|") for line in README.splitlines() if line.startswith("| `OTEL_"))
    }
    assert told == {
        variable: (
            ", ".join(by_file),
            ", ".join(dict.fromkeys(f"`{each}`" if each else "none" for each in by_file.values())),
        )
        for variable, by_file in found.items()
    }


def test_nothing_is_held_in_memory() -> None:
    """No way of a request has a batch, and its queue is on disk, without end and bound in bytes."""
    for name, exporter in (("agent", "otlp_http/gateway"), ("gateway", "otlp_http/usage")):
        configuration = read(f"{name}.yaml")
        [pipeline] = [
            each for each in configuration["service"]["pipelines"].values() if each["exporters"] == [exporter]
        ]
        assert not [each for each in pipeline["processors"] if each.startswith("batch")]
        sending = configuration["exporters"][exporter]
        assert sending["retry_on_failure"]["max_elapsed_time"] == "0s"
        queue = sending["sending_queue"]
        assert (queue["storage"], queue["sizer"], queue["wait_for_result"]) == ("file_storage/queue", "bytes", False)
        assert "batch" not in queue
        assert configuration["extensions"]["file_storage/queue"]["fsync"] is True


def test_logs_are_never_debug() -> None:
    """At this level a Collector prints whole spans."""
    assert {read(f"{name}.yaml")["service"]["telemetry"]["logs"]["level"] for name in ("agent", "gateway")} == {"info"}


def test_compose() -> None:
    """Everything in docker-compose.yaml is hardened, mounts files that are there, and uses options that there are."""
    services = read("docker-compose.yaml")["services"]
    assert services.keys() == {"folders", "agent", "gateway", "collect"}
    for name in ("agent", "gateway", "collect"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    for name in ("agent", "gateway"):
        source, target, _ = services[name]["volumes"][0].split(":")
        assert (CONFIG / source).is_file()
        assert services[name]["command"] == [f"--config={target}"]
        assert {variable for variable, _ in VARIABLE.findall((CONFIG / source).read_text())} >= {
            *services[name]["environment"]
        }
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
    check_options(services["collect"]["command"])
    version = yaml.safe_load((Path(__file__).parent / "builder.yaml").read_text())["dist"]["version"]
    assert services["agent"]["image"].endswith(f":{version}")


def check_options(command: list[str]) -> None:
    """Each option of an `otel-usage` command is one of that command."""
    shown = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    for option in (word for word in command if word.startswith("--")):
        assert option in shown.output


@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
def test_units(unit: Path, tmp_path: Path) -> None:
    """A systemd unit is one, if systemd is here to say so, and what it starts is ours."""
    text = unit.read_text()
    [(program, arguments)] = re.findall(r"^ExecStart=(\S+) (.*)$", text, re.MULTILINE)
    if program.endswith("otel-usage"):
        check_options(arguments.split())
    else:
        assert (CONFIG / Path(arguments.removeprefix("--config=")).name).is_file()
    verify = shutil.which("systemd-analyze")
    if verify is None:
        return
    copy = tmp_path / unit.name
    copy.write_text(text.replace(program, shutil.which("true") or ""))
    done = subprocess.run([verify, "verify", copy], env={**os.environ}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_overlay_in_the_readme(collector_binary: Path, tmp_path: Path) -> None:
    """The example of a site's own file can be laid over the gateway."""
    [example] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    overlay = tmp_path / "site.yaml"
    overlay.write_text(example)
    arguments = [collector_binary, "validate", f"--config={CONFIG / 'gateway.yaml'}", f"--config={overlay}"]
    done = subprocess.run(arguments, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
