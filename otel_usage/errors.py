"""The exceptions of this package and nothing else.

    OtelUsageError(message, hint)
    +- ConfigurationError        also a ValueError
    +- MissingExtraError         also an ImportError; the hint is the exact pip line
    +- StoreError
    |  +- StoreMissingError
    |  +- StoreLockedError       who holds it
    |  +- SchemaVersionError     the store is newer than the program, or to be migrated first
    |  +- StoreCorruptError      damaged, or not a store of ours
    |  +- JournalUnavailableError  nothing can be kept at present: its bound, a full disk
    +- OTLPDecodeError
    +- ForwardingError           the endpoint has not taken the records, which wait in the journal
    +- ReportError
       +- UnknownReportError     with the closest names
       +- InvalidPeriodError
       +- InvalidFilterError     a column, value, sort key, limit, format or time zone
       +- QueryError             DuckDB refused the SQL

Constructors and commands raise these; the request path raises nothing.
"""


class OtelUsageError(Exception):
    """Something a person can act on: what is wrong, where, and what to do.

    Args:
        message: What is wrong and where, one line, without credentials.
        hint: What to do next, one line; empty if there is nothing to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigurationError(OtelUsageError, ValueError):
    """A setting has a value that cannot be used."""


class MissingExtraError(OtelUsageError, ImportError):
    """A feature needs a package that an extra of this one installs."""


class StoreError(OtelUsageError):
    """The store cannot be opened or used."""


class StoreMissingError(StoreError):
    """There is no store at this path, and reading makes none."""


class StoreLockedError(StoreError):
    """Another process holds the store."""


class SchemaVersionError(StoreError):
    """The store was written by a newer version of this package, or by an older one and is to be migrated first."""


class StoreCorruptError(StoreError):
    """The file is damaged, or is not a store of this package."""


class JournalUnavailableError(StoreError):
    """Records cannot be kept at present: the journal has reached its bound, or its disk is full."""


class OTLPDecodeError(OtelUsageError):
    """Bytes that are no OTLP trace data."""


class ForwardingError(OtelUsageError):
    """The endpoint has not taken the records; they wait in the journal."""


class ReportError(OtelUsageError):
    """A report or query cannot be answered as asked."""


class UnknownReportError(ReportError):
    """No report has this name."""


class InvalidPeriodError(ReportError):
    """The period asked for cannot be understood."""


class InvalidFilterError(ReportError):
    """A filter, sort key or other argument does not fit the report."""


class QueryError(ReportError):
    """DuckDB refused the SQL."""
