"""What a web worker imports stays small, proved in processes of their own."""

import subprocess
import sys

import pytest

from tests.integration.site import clean_environment

LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def loaded_after(code, tmp_path):
    """Top-level modules of a fresh process after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import otel_usage.bootstrap; otel_usage.bootstrap.install()",
        "import otel_usage.instrumentation.frameworks, otel_usage.instrumentation.processor",
        "import otel_usage.exporter.span_exporter; otel_usage.exporter.span_exporter.DuckDBSpanExporter()",
    ],
    ids=["install", "instrumentation", "exporter"],
)
def test_worker_imports_no_heavy_module(code, tmp_path):
    """No DuckDB, no command line, no data frames, and no framework that the application did not import."""
    heavy = {"duckdb", "typer", "click", "rich", "pyarrow", "pandas", "pydantic", "flask", "django", "fastapi"}
    assert loaded_after(code, tmp_path) & heavy == set()


def test_importing_the_package_imports_nothing_else(tmp_path):
    """`import otel_usage` costs nothing; its names are imported when they are used (PEP 562)."""
    loaded = loaded_after("import otel_usage", tmp_path)
    assert loaded & {"opentelemetry", "msgspec", "wrapt", "duckdb"} == set()


def test_public_names_are_there():
    """Every public name can be had, and no other."""
    import otel_usage

    for name in otel_usage.__all__:
        assert getattr(otel_usage, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = otel_usage.nothing


def test_enrichment_imports_only_the_standard_library(tmp_path):
    """Enrichment is pure: neither OpenTelemetry nor any other package."""
    code = (
        "import pkgutil, importlib, otel_usage.enrichment as e\n"
        "[importlib.import_module(f'{e.__name__}.{m.name}') for m in pkgutil.iter_modules(e.__path__)]"
    )
    assert loaded_after(code, tmp_path) & {"opentelemetry", "msgspec", "wrapt", "duckdb", "typer"} == set()
