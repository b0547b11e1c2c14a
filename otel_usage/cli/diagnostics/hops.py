"""The hops of a pipeline: what each answers to a trial request, and what its answer means.

How far a trial request comes behind a hop is `pipeline`'s.
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from otel_usage.errors import ConfigurationError
from otel_usage.exporter.forwarder.posting import Answer, Poster, PostError, tls_context
from otel_usage.exporter.trial import Trial, new_token
from otel_usage.settings import TRACES_PATH, Transport

# What tells of a hop behind the first, in their order.
VARIABLES: Final = {"OTEL_USAGE_GATEWAY_ENDPOINT": "gateway", "OTEL_USAGE_COLLECT_ENDPOINT": "collect"}
_HEALTH_SECONDS: Final = 5.0
_MAX_BODY: Final = 64 * 1024
_RESPONSE_FIELDS: Final = {"partialSuccess", "partial_success"}


@dataclass(frozen=True, slots=True)
class Hop:
    """Where spans go in.

    Attributes:
        name: How it is called in findings.
        url: Its OTLP/HTTP base endpoint.
    """

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a hop does not take a trial request, and what to do about it."""

    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What a hop answered.

    Attributes:
        hop: Which.
        trial: What was sent to it.
        seconds: How long the answer took.
        trouble: Why it did not take the trial request; None if it did.
        is_credential: Whether all that is missing is a credential that is not sent to this hop.
        is_collect: Whether it is `otel-usage collect`: what it takes is in the journal of its store.
    """

    hop: Hop
    trial: Trial = field(repr=False)
    seconds: float
    trouble: Trouble | None
    is_credential: bool
    is_collect: bool

    @property
    def name(self) -> str:
        """How the hop is called in findings."""
        return "collect" if self.is_collect else self.hop.name


def of(endpoints: Sequence[str], told: Mapping[str, str]) -> list[Hop]:
    """The hops, first one first.

    Args:
        endpoints: Those that were named. Where it is one, the others are those that the variables tell; whoever
            begins with one of these is not interested in what is before it.
        told: Endpoints by the names of the variables.
    """
    names = {told[variable]: name for variable, name in VARIABLES.items() if variable in told}
    urls = list(endpoints)
    if len(urls) == 1:
        order = list(names)
        urls += order[order.index(urls[0]) + 1 :] if urls[0] in names else order
    return [Hop(names.get(url, "endpoint" if n == 1 else f"hop {n}"), url) for n, url in enumerate(urls, 1)]


def ask(hops: Sequence[Hop], transport: Transport, seconds: float) -> list[Heard]:
    """Send a trial request of its own to each hop, to all at once.

    Headers go to the first only: they hold credentials, and those of the others are not known here.

    Args:
        hops: First one first.
        transport: How they are spoken to.
        seconds: How long each row will be waited for.

    Raises:
        ConfigurationError: The files for TLS cannot be used; nothing was sent.
    """
    if any(hop.url.startswith("https:") for hop in hops):
        _require_usable(transport)
    token = new_token()

    def one(n: int) -> Heard:
        return _ask(hops[n], transport, token, seconds, is_first=n == 0)

    with ThreadPoolExecutor(len(hops)) as pool:
        return list(pool.map(one, range(len(hops))))


def health(url: str, transport: Transport) -> tuple[int, Any] | None:
    """The status and the JSON that `GET url` answers, None for what is none; None if there is no answer."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname or "", port, timeout=_HEALTH_SECONDS, context=_tls(transport)
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", port, timeout=_HEALTH_SECONDS)
        try:
            connection.request("GET", parts.path or "/")
            answer = connection.getresponse()
            return answer.status, _json(answer.read(_MAX_BODY))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _ask(hop: Hop, transport: Transport, token: str, seconds: float, *, is_first: bool) -> Heard:
    told = health(f"{hop.url}/health", transport)
    found = told[1] if told is not None else None
    # What many say, and what only ours does.
    is_collect = isinstance(found, dict) and "status" in found and "journal_max_bytes" in found
    # What stands between is not made to see a credential that the hop before it would have hashed.
    trial = Trial.new(seconds, token=token if is_first or is_collect else None)
    headers = {**(dict(transport.headers) if is_first else {}), "content-type": "application/json"}
    poster = Poster(
        hop.url + TRACES_PATH,
        headers,
        certificate=transport.certificate,
        client_certificate=transport.client_certificate,
        client_key=transport.client_key,
        timeout_seconds=min(transport.timeout_seconds, seconds),
    )
    started = time.monotonic()
    is_credential = False
    try:
        answer = poster.post(trial.body())
    except PostError as error:
        trouble: Trouble | None = _of_error(error, hop)
    else:
        is_credential = not is_first and answer.status in (401, 403)
        trouble = _of_answer(answer, found if is_collect else None, is_first=is_first)
    finally:
        poster.close()
    return Heard(hop, trial, time.monotonic() - started, trouble, is_credential, is_collect)


def _require_usable(transport: Transport) -> None:
    try:
        _tls(transport)
    except OSError as error:
        raise ConfigurationError(
            f"The files for TLS cannot be used: {error.strerror or error}.",
            "Correct OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE or _CLIENT_KEY.",
        ) from error


def _tls(transport: Transport) -> ssl.SSLContext:
    return tls_context(transport.certificate, transport.client_certificate, transport.client_key)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _of_error(error: PostError, hop: Hop) -> Trouble:
    """What it means that there was no answer."""
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return Trouble("refuses connections", "Start what is to listen there, or correct the address.")
    if isinstance(cause, socket.gaierror):
        return Trouble("has a host name that is not known here", "Correct the address.")
    if isinstance(cause, TimeoutError):
        return Trouble(f"gives {error}", "Look at whether it still runs, and at firewalls on the way.")
    if isinstance(cause, ssl.SSLError):
        return _of_tls(cause)
    if isinstance(cause, (http.client.HTTPException, ConnectionError)):
        hint = "Name its port for OTLP over HTTP, usually 4318; 4317 is that of gRPC."
        other = " Or write https://, if it speaks TLS." if hop.url.startswith("http:") else ""
        return Trouble("gives no answer in HTTP", hint + other)
    return Trouble(f"cannot be reached: {error}", "Correct the address, or look at the network.")


def _of_tls(error: ssl.SSLError) -> Trouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"has a certificate that is not trusted here: {error.verify_message}"
        return Trouble(message, "Set OTEL_EXPORTER_OTLP_CERTIFICATE to the PEM file of whoever signed it.")
    if error.reason and "CERTIFICATE" in error.reason:
        remedy = "Set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY to what it asks for."
        return Trouble("wants a client certificate, another than it got", remedy)
    return Trouble(f"does not speak TLS as this does: {error.reason}", "Write http://, if it speaks none.")


def _of_answer(answer: Answer, told: Mapping[str, Any] | None, *, is_first: bool) -> Trouble | None:
    """Why an answer does not say that the trial request was taken; None if it does."""
    status = answer.status
    if 200 <= status < 300:
        return _of_success(answer)
    message = f"answers {answer.reason}"
    if 300 <= status < 400:
        return Trouble(message, "Name the address it leads to: behind a redirect, Collectors lose spans silently.")
    if status in (401, 403):
        remedy = "Set OTEL_USAGE_HEADERS, or OTEL_EXPORTER_OTLP_HEADERS, as in Authorization=Bearer%20..."
        return Trouble(message, remedy if is_first else "To try it, name it as the only --endpoint, with its headers.")
    if status == 400 and b"HTTPS" in answer.body:
        return Trouble(f"{message}: it speaks TLS", "Write https:// instead of http://.")
    if status in (429, 502, 503, 504):
        return _of_pressure(message, told)
    if status >= 500:
        return Trouble(message, "Look at its log. A Collector that gets this answer drops what it has sent.")
    return Trouble(message, f"Name the base endpoint of an OTLP/HTTP receiver, to which {TRACES_PATH} is appended.")


def _of_success(answer: Answer) -> Trouble | None:
    """A receiver says in JSON what it did not take; whatever else listens somewhere also answers 200."""
    message = f"answers {answer.reason}"
    if not answer.body:
        return None
    found = _json(answer.body)
    if not isinstance(found, dict) or not found.keys() <= _RESPONSE_FIELDS:
        remedy = f"Name the base endpoint of an OTLP/HTTP receiver, to which {TRACES_PATH} is appended."
        return Trouble(f"{message}, but not as an OTLP receiver does", remedy)
    partial = next(iter(found.values()), None) or {}
    rejected = partial.get("rejectedSpans", partial.get("rejected_spans", 0)) if isinstance(partial, dict) else 0
    if str(rejected) in ("", "0"):
        return None
    return Trouble(f"{message}, but rejects the span", "Look at its log, and at the limits that it has for spans.")


def _of_pressure(message: str, told: Mapping[str, Any] | None) -> Trouble:
    """It says that it takes nothing at present; a receiver of ours also says why."""
    if told is None:
        return Trouble(message, "Its queue or its memory is full: look at its log, and at the hop behind it.")
    size, bound = told.get("journal_bytes"), told.get("journal_max_bytes")
    # What was refused may be larger than what was left.
    if isinstance(size, int) and isinstance(bound, int) and size * 10 >= bound * 9:
        remedy = "Find what keeps its store from being committed to: run otel-usage doctor there."
        return Trouble(f"{message}: its journal is full, {size} of {bound} bytes", remedy)
    return Trouble(message, "Look at its log, at the disk of its journal, and run otel-usage doctor there.")
