"""Where the receiver listens: addresses, their sockets, and what TLS needs, refused before anything is served."""

import errno
import ipaddress
import resource
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from weakref import WeakSet

from otel_usage.errors import ConfigurationError
from otel_usage.exporter.receiver.renewal import Renewed

_BACKLOG: Final = 2048
# The store, the journal, the workers' own files.
_RESERVED_DESCRIPTORS: Final = 256


@dataclass(frozen=True, slots=True)
class Address:
    """A host, empty for every interface, and a port, 0 for a free one."""

    host: str
    port: int

    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """`host:port`, `[::1]:port`, or `:port` for every interface.

    Raises:
        ConfigurationError: It is none of these.
    """
    host, separator, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_ambiguous = ":" in bare and bare == host
    if not separator or is_ambiguous or not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigurationError(
            f"--listen {text!r} is no address.", "Write host:port, [::1]:port, or :port for every interface."
        )
    return Address(bare, int(port))


def listen(address: Address) -> list[socket.socket]:
    """Sockets that accept connections from now on.

    Raises:
        ConfigurationError: The port is in use, the host unknown or no name, or it is not allowed.
    """
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            address.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((where[0], port, *where[2:]))
            port = listener.getsockname()[1]
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except (OSError, UnicodeError) as error:  # a name with an empty or a long part cannot be looked up
        for opened in sockets:
            opened.close()
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise ConfigurationError(
            f"--listen {address.host}:{address.port} cannot be used: {reason}.",
            "End what listens there, or name another port." if is_taken else "Name an address of this machine.",
        ) from error
    return sockets


def load_tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS of a server with this certificate, and with OpenSSL's defaults.

    Raises:
        ConfigurationError: The files cannot be read, do not fit each other, or the key has a password.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        made.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = _reason(error)
        raise ConfigurationError(
            f"{tls_files(certificate, key)} cannot be used: {reason}.",
            "They must be PEM files that belong together, the key without a password; --key may be missing.",
        ) from error
    return made


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in (None, "PEM_LIB"):
        return "a certificate or a key in PEM is missing or damaged"
    return getattr(error, "strerror", None) or "they are not usable"


def tls_files(certificate: Path, key: Path | None) -> str:
    """The options that name them."""
    return f"--certificate {certificate}{f' and --key {key}' if key else ''}"


class BoundedTLS(ssl.SSLContext):
    """TLS for so many clients at once, those included that have not said a word yet.

    Attributes:
        current: TLS for the next client. A certificate and a key loaded into what is in use would not be changed in one
            step, so each pair has a context of its own; clients that are connected keep theirs.
        max_clients: Those beyond are disconnected before anything of them is read.
        refused: Called for each of these.
    """

    current: Renewed[ssl.SSLContext]
    max_clients: int
    refused: Callable[[], None]
    _clients: WeakSet[ssl.SSLObject]

    @classmethod
    def of(cls, current: Renewed[ssl.SSLContext], max_clients: int, refused: Callable[[], None]) -> Self:
        """TLS whose certificate can be replaced."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made.current, made.max_clients, made.refused = current, max_clients, refused
        made._clients = WeakSet()
        return made

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """The TLS of one more client; the event loop asks for it when it has accepted the connection."""
        if len(self._clients) >= self.max_clients:
            self.refused()
            raise ssl.SSLError("Too many clients.")
        client = self.current.value.wrap_bio(*args, **options)
        self._clients.add(client)
        return client


def allow_connections(wanted: int) -> int:
    """Let this process and its children have as many descriptors as the system allows.

    Returns:
        How many connections a worker can have, at most those that are wanted.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, hard - _RESERVED_DESCRIPTORS))
