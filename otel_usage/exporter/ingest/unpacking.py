"""Decompression with bounds: of whole files in pieces, of single messages at once."""

from collections.abc import Callable, Iterator
from typing import Final

from otel_usage.errors import OTLPDecodeError
from otel_usage.exporter.ingest.framing import MAX_MESSAGE_BYTES
from otel_usage.exporter.ingest.length_prefixed import ZSTD_MAGIC
from otel_usage.exporter.otlp.decompressors import DAMAGED, Decompressor, gzip_decompressor, zstd_decompressor

_PIECE_BYTES: Final = 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"


class Unpacking:
    """The decompression of a whole file, member by member (gzip) or frame by frame (zstd), in bounded pieces.

    Args:
        start: What the file begins with.

    Attributes:
        is_packed: Whether it is compressed at all.
    """

    def __init__(self, start: bytes) -> None:
        self._new = _decompressor(start)
        self._current: Decompressor | None = None
        self.is_packed = self._new is not None

    @property
    def is_amid(self) -> bool:
        """Whether something is missing to the end of a member or frame."""
        return self._current is not None

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What the next bytes of the file contain.

        Raises:
            OTLPDecodeError: The compressed data is damaged.
        """
        if self._new is None:
            yield packed
            return
        while packed or self._current is not None:
            data, packed = self._step(self._new, packed)
            if data:
                yield data
            elif not packed:
                return

    def _step(self, new: Callable[[], Decompressor], packed: bytes) -> tuple[bytes, bytes]:
        """A piece, and the input that is left; what zstd has not used yet it keeps itself."""
        current = self._current = self._current or new()
        try:
            data = current.decompress(packed, _PIECE_BYTES)
        except DAMAGED as error:
            raise OTLPDecodeError(f"The compressed data cannot be read: {error}.") from None
        if current.eof:
            self._current = None
            return data, current.unused_data
        return data, getattr(current, "unconsumed_tail", b"")


def _decompressor(start: bytes) -> Callable[[], Decompressor] | None:
    if start.startswith(_GZIP_MAGIC):
        return gzip_decompressor
    return zstd_decompressor if start.startswith(ZSTD_MAGIC) else None


def unpacked(message: bytes) -> bytes:
    """A message as it was before the Collector compressed it by itself.

    Raises:
        OTLPDecodeError: It is damaged, or too long.
    """
    if not message.startswith(ZSTD_MAGIC):
        return message
    decompressor = zstd_decompressor()
    try:
        data = decompressor.decompress(message, MAX_MESSAGE_BYTES + 1)
    except DAMAGED as error:
        raise OTLPDecodeError(f"The compressed message cannot be read: {error}.") from None
    if len(data) > MAX_MESSAGE_BYTES:
        raise OTLPDecodeError(f"The message is longer than {MAX_MESSAGE_BYTES} bytes when decompressed.")
    if not decompressor.eof or decompressor.unused_data:
        raise OTLPDecodeError("The compressed message does not end where it should.")
    return data
