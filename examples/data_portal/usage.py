"""The two places where the portal helps `otel-usage`; both are optional, and so is the package.

Without them the records still say which token, which user and which resource: they only lack the portal's own
names for the token and the file.
"""


def _nobody_to_tell(*_: object, **__: object) -> None:
    """What both do where the package is not installed."""


try:
    from otel_usage import identify, record_access
except ModuleNotFoundError:
    identify = record_access = _nobody_to_tell

__all__ = ["identify", "record_access"]
