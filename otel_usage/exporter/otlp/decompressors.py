"""The decompressors of gzip and zstd, and what they raise. What is decompressed, how much of it, is the callers'."""

import contextlib
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

from otel_usage.errors import MissingExtraError

zstd: Any = None
for _name in ("compression.zstd", "backports.zstd"):  # of Python 3.14, and before
    with contextlib.suppress(ImportError):
        zstd = import_module(_name)
        break

# 32 MiB: the largest that Go's encoder writes at its best level, and what a frame may make us allocate.
_MAX_WINDOW_LOG: Final = 25
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS

# What they raise where the data is damaged, or its window too large.
DAMAGED: Final[tuple[type[Exception], ...]] = (zlib.error, EOFError, *(() if zstd is None else (zstd.ZstdError,)))


class Decompressor(Protocol):
    """One member of gzip, or one frame of zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def gzip_decompressor() -> Decompressor:
    """What decompresses a member of gzip."""
    return zlib.decompressobj(_GZIP_FORMAT)


def zstd_decompressor() -> Decompressor:
    """What decompresses a frame of zstd.

    Raises:
        MissingExtraError: It is not installed.
    """
    if zstd is None:
        raise MissingExtraError(
            "What is compressed with zstd needs the package backports.zstd.", "Run: pip install backports.zstd"
        )
    made: Decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})
    return made


DECOMPRESSORS: Final[dict[str, Callable[[], Decompressor]]] = {"gzip": gzip_decompressor, "zstd": zstd_decompressor}
