"""The documentation is true: its links lead somewhere, its examples run, its tables are those of the code."""

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_usage
from otel_usage import settings
from tests.contracts import markdown

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CONFIGURATION = ROOT / "docs" / "configuration.md"
NOT_OURS = {"__pycache__", "build", "dist", "otel-usage-demo"}


def files(*suffixes: str) -> Iterator[Path]:
    """Every file of the repository with one of these suffixes, all without any; nothing that tools have made."""
    for folder, names, found in os.walk(ROOT):
        names[:] = [
            n for n in names if n not in NOT_OURS and (n == ".ci" or n[0] != ".") and not n.endswith(".egg-info")
        ]
        yield from (Path(folder, name) for name in sorted(found) if not suffixes or name.endswith(suffixes))


PAGES = list(files(".md"))
RUNNABLE = [block for page in PAGES for block in markdown.runnable(page)]
SETTINGS_FILES = [block for page in PAGES for block in markdown.blocks(page, "toml")]


def short(path: object) -> str:
    """A test id that says which page."""
    return str(path.relative_to(ROOT)) if isinstance(path, Path) else str(path)


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_resolve(page):
    """Every link into the repository names a file that is there, and a heading in it."""
    broken = []
    for link in markdown.links(page):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in markdown.anchors(target)):
            broken.append(link)
    assert not broken


def test_pages_are_reachable():
    """Every page of docs/ is in its index."""
    index = set(markdown.links(ROOT / "docs" / "README.md"))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= index


def test_there_are_examples_to_run():
    """The marks are found: Python and shell in README and docs."""
    languages = {block.language for block in RUNNABLE}
    assert {"python", "sh", "console"} <= languages


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with a small store of the demo, which also stands there as anyone's own `usage.duckdb`."""
    folder = tmp_path_factory.mktemp("demo")
    command = [BIN / "otel-usage", "demo", "--requests", "300"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("usage.duckdb", "usage.duckdb.key"):
        shutil.copy(folder / "otel-usage-demo" / name, folder / name)
    return folder


def environment() -> dict[str, str]:
    """A newcomer's: this environment's programs first, nothing of OpenTelemetry set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTEST_"))}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def program(block: markdown.Block) -> list[str | Path]:
    """What runs a block; of a console only the lines behind `$` are typed."""
    if block.language == "python":
        return [sys.executable, "-W", "error", "-c", block.text]
    lines = block.text.splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert lines, block
    return ["sh", "-e", "-c", "\n".join(lines)]


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_example_runs(block, demo, tmp_path):
    """Every example that is marked does what it says without an error."""
    folder = tmp_path / "folder"
    shutil.copytree(demo, folder)
    done = subprocess.run(program(block), cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", SETTINGS_FILES, ids=str)
def test_settings_file_is_taken(block, tmp_path):
    """Every settings file that is shown is one that the command line takes."""
    file = tmp_path / "otel-usage.toml"
    file.write_text(block.text, encoding="utf-8")
    assert settings.load({"OTEL_USAGE_CONFIG": str(file)}, strict=True).problems == ()


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key, default=None):  # type: ignore[no-untyped-def]
        self.names.add(key)
        return super().get(key, default)


def documented() -> dict[str, list[str]]:
    """Variable -> flag, key, default, type."""
    return {cells[0]: cells[1:] for cells in markdown.rows(CONFIGURATION, "OTEL_USAGE_") if len(cells) == 5}


def test_every_variable_is_documented(tmp_path, monkeypatch):
    """The table of settings has exactly the variables that are read."""
    monkeypatch.chdir(tmp_path)
    asked = Asked()
    settings.load(asked, strict=True)
    assert set(documented()) == {name for name in asked.names if name.startswith("OTEL_USAGE_")}


def test_flags_are_the_launchers():
    """The table's flags are those that the launcher makes of our module's names; only secrets have none."""
    module = ast.parse((ROOT / "otel_usage" / "environment_variables.py").read_text(encoding="utf-8"))
    names = {target.id for node in module.body if isinstance(node, ast.Assign) for target in node.targets}
    flags = {variable: cells[0] for variable, cells in documented().items() if cells[0] != "-"}
    assert flags == {name: f"--{name.removeprefix('OTEL_').lower()}" for name in names}
    assert set(documented()) - set(flags) == {"OTEL_USAGE_TOKEN_KEY", "OTEL_USAGE_HEADERS"}


def test_keys_of_the_file(tmp_path):
    """The table's keys are exactly those that the file may have."""
    keys = {cells[1] for cells in documented().values()} - {"-"}
    file = tmp_path / "otel-usage.toml"
    for key in keys | {"token_key", "config"}:
        file.write_text(f'{key} = "?"\n', encoding="utf-8")
        problems = settings.load({"OTEL_USAGE_CONFIG": str(file)}, strict=False).problems
        assert any("unknown key" in problem for problem in problems) == (key not in keys)
    file.write_text("colour = 1\n", encoding="utf-8")
    (problem,) = settings.load({"OTEL_USAGE_CONFIG": str(file)}, strict=False).problems
    assert set(re.findall(r"\w+", problem.partition("Known keys:")[2])) == keys


@pytest.mark.parametrize("variable", sorted(documented()))
def test_default(variable, tmp_path, monkeypatch):
    """Setting a variable to its documented default changes nothing."""
    monkeypatch.chdir(tmp_path)
    default = documented()[variable][2].replace("<store>", str(tmp_path / "usage.duckdb"))
    unset = settings.load({}, strict=True)
    if variable == "OTEL_USAGE_CONFIG":
        assert default == settings.CONFIG_FILE
    elif variable == "OTEL_USAGE_TOKEN_KEY":
        assert (default, unset.token_key) == ("none", None)
    elif variable == "OTEL_USAGE_HEADERS":
        assert (default, unset.transport.headers) == ("none", ())
    else:
        told = settings.load({variable: default}, strict=True)
        # Said or not makes a difference where the journal is forwarded so far.
        assert dataclasses.replace(told, is_exporter_set=False) == unset


def test_every_setting_is_described():
    """Below the table each setting has a paragraph of its own."""
    described = re.findall(r"\*\*`(OTEL_USAGE_\w+)`\*\*", CONFIGURATION.read_text(encoding="utf-8"))
    assert sorted(described) == sorted(documented())


@pytest.mark.parametrize("name", otel_usage.__all__)
def test_public_name_is_documented(name):
    """Every public name stands in the documentation as code."""
    pages = (page.read_text(encoding="utf-8") for page in PAGES)
    assert any(re.search(rf"`{re.escape(name)}[`(]", text) for text in pages)


def test_dependencies_are_explained():
    """Every dependency of the package stands in the decisions."""
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w.-]+", dependency)[0] for dependency in project["dependencies"]]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_modules_say_what_they_own():
    """Every module of the package begins with a docstring."""
    modules = [file for file in files(".py") if file.is_relative_to(ROOT / "otel_usage")]
    silent = [short(file) for file in modules if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))]
    assert modules
    assert not silent


# Put together here, so that this file does not name them.
FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.~])/(?:" + "|".join(("work", "root", "tmp/dev")) + r")(?![\w-])",
            r"\b(?:" + "|".join(("py" r"pi\.org", "pythonhosted" r"\.org", r"registry\." "npm")) + ")",
            r"\b(?:agent|coding|chat) " + "session|coding " + "agent|language " + "model",
        )
    ),
    re.IGNORECASE,
)


def test_nothing_of_the_place_where_it_was_written():
    """No file names a package registry's host, a folder of one machine, or who typed it."""
    found = []
    for file in files():
        text = file.read_text(encoding="utf-8", errors="replace")
        found += [f"{short(file)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert not found
