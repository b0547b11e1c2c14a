"""Which application the command of a server names, and where the server imports it from."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from otel_usage.cli.diagnostics.probe import Wanted

_NAMED: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(.*\))?")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

# What Flask's command line looks for in a module; the others take one name.
_ANY: Final = ["app", "application", "create_app()", "make_app()"]
_WSGI: Final = ["application"]

_SWITCHES_OF_GUNICORN: Final = frozenset(
    ("--preload", "--reload", "--daemon", "-D", "--check-config", "--print-config", "--capture-output")
) | {"--reuse-port", "--no-sendfile", "--proxy-protocol", "--enable-stdio-inheritance", "-R"}


def application(name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> Wanted | None:
    """The application that a command serves, or None where it names none in a way that is known here.

    Args:
        name: Of the program, or of the module behind `python -m`.
        arguments: Of the program.
        environ: It is started with.
    """
    if len(arguments) > 1 and arguments[0] == "-m":
        return application(arguments[1], arguments[2:], environ)
    read = _SERVERS.get(name.replace("-", "_"))
    return None if read is None else read(arguments, environ)


def named(text: str) -> Wanted:
    """What `--app` names: `module:app`, `module:create_app()`, or a module alone."""
    module, _, name = text.partition(":")
    folders = []
    if module.endswith(".py"):
        path = Path(module)
        module, folders = path.stem, [str(path.parent.absolute())]
    return {"module": module, "names": [name] if name else _ANY, "factory": None, "folders": folders}


def _of_asgi_server(arguments: Sequence[str], _environ: Mapping[str, str]) -> Wanted | None:
    found = next(filter(_NAMED.fullmatch, arguments), None)
    if found is None:
        return None
    wanted = named(found)
    wanted["factory"] = "--factory" in arguments or "--call" in arguments
    wanted["folders"] = [str(Path(value).absolute()) for value in _values(arguments, "--app-dir", "--working-dir")]
    return wanted


def _of_sanic(arguments: Sequence[str], environ: Mapping[str, str]) -> Wanted | None:
    """Sanic calls a function also where it is not told that it is a factory."""
    wanted = _of_asgi_server(arguments, environ)
    if wanted is not None:
        wanted["factory"] = wanted["factory"] or None
    return wanted


def _of_gunicorn(arguments: Sequence[str], environ: Mapping[str, str]) -> Wanted | None:
    wanted = _of_asgi_server(arguments, environ) or _of_module(arguments)
    if wanted is not None:
        paths = (path for value in _values(arguments, "--pythonpath") for path in value.split(","))
        wanted["folders"] = [str(Path(path).absolute()) for path in (*_values(arguments, "--chdir"), *paths)]
    return wanted


def _of_module(arguments: Sequence[str]) -> Wanted | None:
    """A module that stands alone, as in `gunicorn mysite.wsgi`, and not as the value of an option."""
    for before, word in zip(("", *arguments), arguments, strict=False):
        is_value = before.startswith("-") and "=" not in before and before not in _SWITCHES_OF_GUNICORN
        if _MODULE.fullmatch(word) and not is_value:
            return {"module": word, "names": _WSGI, "factory": False, "folders": []}
    return None


def _of_uwsgi(arguments: Sequence[str], _environ: Mapping[str, str]) -> Wanted | None:
    found = next(_values(arguments, "--module", "-w", "--wsgi"), None)
    if found is None:
        return None
    folders = [str(Path(value).absolute()) for value in _values(arguments, "--chdir", "--pythonpath", "--pp")]
    module, _, name = found.partition(":")
    names = [name] if name else list(_values(arguments, "--callable")) or _WSGI
    return {"module": module, "names": names, "factory": False, "folders": folders}


def _of_flask(arguments: Sequence[str], environ: Mapping[str, str]) -> Wanted | None:
    found = next(_values(arguments, "--app", "-A"), environ.get("FLASK_APP"))
    return named(found or next((name for name in ("wsgi.py", "app.py") if Path(name).exists()), "app"))


def _values(arguments: Sequence[str], *options: str) -> Iterator[str]:
    """The values of options, written with a space or an equals sign."""
    for word, following in zip(arguments, (*arguments[1:], ""), strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            yield value if equals else following


_SERVERS: Final[Mapping[str, Callable[[Sequence[str], Mapping[str, str]], Wanted | None]]] = {
    "daphne": _of_asgi_server,
    "flask": _of_flask,
    "granian": _of_asgi_server,
    "gunicorn": _of_gunicorn,
    "hypercorn": _of_asgi_server,
    "sanic": _of_sanic,
    "uvicorn": _of_asgi_server,
    "uwsgi": _of_uwsgi,
    "waitress": _of_asgi_server,
    "waitress_serve": _of_asgi_server,
}
