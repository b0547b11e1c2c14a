"""Exceptions, exit codes and the one line on standard error."""

import pytest
import typer

from otel_usage import errors
from otel_usage.cli import exits, output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (errors.UnknownReportError("x"), 2),
        (errors.InvalidPeriodError("x"), 2),
        (errors.InvalidFilterError("x"), 2),
        (typer.BadParameter("x"), 2),
        (errors.StoreError("x"), 3),
        (errors.StoreMissingError("x"), 3),
        (errors.StoreLockedError("x"), 3),
        (errors.SchemaVersionError("x"), 3),
        (errors.StoreCorruptError("x"), 3),
        (errors.QueryError("x"), 1),
        (errors.ReportError("x"), 1),
        (errors.OTLPDecodeError("x"), 1),
        (errors.MissingExtraError("x"), 1),
        (errors.OtelUsageError("x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
        (exits.OutputClosedError(), 141),
    ],
)
def test_every_exception_has_its_code(error: BaseException, code: int) -> None:
    """The documented codes, and those of a shell for signals."""
    assert exits.exit_code(error) == code


def test_every_exception_of_ours_is_decided() -> None:
    """A new kind of error must be given a code here, or knowingly be a 1."""
    ours = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    by_code = {code: {each for each in ours if exits.exit_code(each("x")) == code} for code in (1, 2, 3)}
    assert {each.__name__ for each in by_code[1]} == {
        "OtelUsageError",
        "MissingExtraError",
        "OTLPDecodeError",
        "ForwardingError",
        "ReportError",
        "QueryError",
    }


def guard(error: BaseException, *, debug: bool = False) -> int:
    def command() -> int:
        raise error

    return exits.guarded(command, lambda: debug)


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Message and hint, whatever line ends or escape sequences are in them."""
    assert guard(errors.QueryError("a\nb \x1b[31m", "do\tc")) == 1
    assert capsys.readouterr() == ("", "otel-usage: error: a b \\x1b[31m do c\n")


def test_the_unexpected_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    """With its type, and how to see more."""
    assert guard(ValueError("no")) == 1
    assert capsys.readouterr().err == "otel-usage: error: ValueError: no `otel-usage --debug ...` shows where.\n"


def test_debugging_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback follows the line."""
    assert guard(ValueError("no"), debug=True) == 1
    assert "in command" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), exits.OutputClosedError()])
def test_who_ends_it_on_purpose_is_not_told(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C and `| head` need no message."""
    assert guard(error) in (130, 141)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_result_of_a_command_is_its_code(result: int | None, code: int) -> None:
    """None, what most commands return, is 0."""
    assert exits.guarded(lambda: result, lambda: False) == code


def test_closed_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Started with its standard output closed, a command ends as if its reader had gone."""
    monkeypatch.setattr("sys.stdout", None)
    assert exits.guarded(lambda: output.write_lines(["a"]), lambda: False) == 141
    assert capsys.readouterr().err == ""
