"""Where the example portal is and what it starts with; nothing of the portal is imported into this process."""

import importlib.util
import sys
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import Final

from otel_usage.errors import MissingExtraError, OtelUsageError

APPLICATION: Final = "data_portal.main:app"
_NEEDED: Final = ("fastapi", "uvicorn", "opentelemetry.instrumentation.fastapi")


def examples_directory() -> Path:
    """The folder that holds `data_portal`: inside an installed package, beside the package in a checkout.

    Raises:
        OtelUsageError: It is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for parent in (package, package.parent):
        if (parent / "examples" / "data_portal" / "main.py").is_file():
            return parent / "examples"
    raise OtelUsageError(f"The example portal is missing beside {package}.", "Install otel-usage again.")


def example_data() -> ModuleType:
    """The portal's `example_data`: names of datasets and users, and how their credentials are derived."""
    path = examples_directory() / "data_portal" / "example_data.py"
    spec = importlib.util.spec_from_file_location("data_portal_example_data", path)
    if spec is None or spec.loader is None:
        raise OtelUsageError(f"{path} cannot be loaded.", "Install otel-usage again.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_extra() -> None:
    """Refuse to go on without the packages of the demo.

    Raises:
        MissingExtraError: One is missing; the hint is the pip line.
    """
    for name in _NEEDED:
        if not _is_installed(name):
            raise MissingExtraError(f"The demo needs {name}.", "pip install 'otel-usage[demo]'")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def script(name: str) -> str:
    """The command of that name which belongs to this Python; else the first on PATH.

    Raises:
        MissingExtraError: There is none.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else which(name)
    if found is None:
        raise MissingExtraError(f"The command {name} is not installed.", "pip install 'otel-usage[demo]'")
    return found
