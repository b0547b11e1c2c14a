"""What is known of messages that could not be read: where they stand, never what they say.

What cannot be decoded cannot be cleaned of credentials, so it is not copied: it stays where it is, in a file that is
not ours. A note a message is kept beside the lines that the commit rejects, in `rejected/`.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from otel_usage.exporter.ingest.framing import Message
from otel_usage.exporter.paths import StorePaths, make_private_folder

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH: Final = 100


class Note(msgspec.Struct, frozen=True):
    """A message that is none.

    Attributes:
        file: In which it stands, as an absolute path; "-" for standard input.
        line_number: Its line, 0 where messages are no lines.
        offset: Where it begins, in bytes after decompression.
        length: Of it, in bytes.
        sha256: Of it, empty where it was not held.
        reason: Why it is none.
    """

    file: str
    line_number: int
    offset: int
    length: int
    sha256: str
    reason: str


_decode: Final = msgspec.json.Decoder(Note).decode


class BadMessages:
    """The notes about the bad messages of one file; who reads it twice finds them noted.

    Args:
        paths: Of the store.
        file: The file's name, as `Note.file`.
    """

    def __init__(self, paths: StorePaths, file: str) -> None:
        name = _UNSAFE.sub("_", Path(file).name)[:_NAME_LENGTH]
        digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
        self._path = paths.rejected / f"ingest-{name}-{digest}.jsonl"
        self._file = file
        self._known: set[tuple[int, int, str]] | None = None

    def add(self, message: Message) -> bool:
        """Note one; False if it is noted already.

        Raises:
            OSError: It cannot be noted.
        """
        digest = hashlib.sha256(message.data).hexdigest() if message.data else ""
        what = (message.offset, message.length, digest)
        if self._known is None:
            self._known = self._read()
        if what in self._known:
            return False
        make_private_folder(self._path.parent)
        note = Note(self._file.encode(errors="replace").decode(), message.line, *what, message.problem)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(note) + b"\n")
        finally:
            os.close(fd)
        self._known.add(what)
        return True

    def _read(self) -> set[tuple[int, int, str]]:
        found: set[tuple[int, int, str]] = set()
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                note = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):  # torn when its writer was killed
                continue
            found.add((note.offset, note.length, note.sha256))
        return found
