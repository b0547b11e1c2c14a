"""The OTLP/HTTP receiver as an ASGI application: it answers 200 once the records are in the journal.

Owns which request is answered with what: 503 for anything that may pass, never 500, since a Collector drops at once
what gets that. How a body is read is `intake`'s, how answers are written `otlp.answers`'s, which server runs
it `serving`'s.
"""

import time
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from otel_usage.errors import JournalUnavailableError, OTLPDecodeError
from otel_usage.exporter.otlp import answers
from otel_usage.exporter.otlp.answers import JSON, PROTOBUF
from otel_usage.exporter.otlp.intake import TooMuchError
from otel_usage.exporter.otlp.request_body import ENCODINGS, BodyTooLargeError
from otel_usage.exporter.receiver import prometheus
from otel_usage.exporter.receiver.bearer import is_authorized
from otel_usage.exporter.receiver.health import Health
from otel_usage.exporter.receiver.intake import BusyError, ReceiverIntake
from otel_usage.exporter.receiver.metrics import ReceiverMetrics
from otel_usage.exporter.warner import Warner
from otel_usage.settings import TRACES_PATH

_BUSY_SECONDS: Final = 1
# Whoever operates the receiver is told of them: their senders may not be read by anybody.
_DROPPED: Final = frozenset((400, 401, 404, 413, 415))
_UNAVAILABLE_SECONDS: Final = 5
_UNKNOWN_PATH: Final = f"This is no path of the receiver, which takes traces alone: POST {TRACES_PATH}."


class Receiver:
    """The ASGI application of one worker.

    Args:
        intake: Takes the bodies.
        tokens: Gives the bearer tokens, one of which every client must carry; none lets everybody in.
        health: What `GET /health` tells.
        metrics: Counts what is answered.
    """

    def __init__(
        self, intake: ReceiverIntake, tokens: Callable[[], Sequence[str]], health: Health, metrics: ReceiverMetrics
    ) -> None:
        self._intake = intake
        self._tokens = tokens
        self._health = health
        self._metrics = metrics
        self._warner = Warner()
        answered: dict[Any, Any] = {HTTPException: self._refused, Exception: self._unexpected}
        self._app = Starlette(
            routes=[
                Route(TRACES_PATH, self._traces, methods=["POST"]),
                Route("/health", self._tell_health, methods=["GET"]),
                Route("/metrics", self._tell_metrics, methods=["GET"]),
            ],
            exception_handlers=answered,
        )
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: whatever happens, it is answered, and not with 500."""
        status, began = 0, time.perf_counter()

        async def noting_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._metrics.begin(scope)
        try:
            await self._app(scope, receive, noting_status)
        except BaseException as error:
            # A request that the server cancels because it is to end may come again, like every other.
            if not isinstance(error, CancelledError):
                self._tell(error)
            if not status:
                body = _failure(Request(scope), 503, "The receiver is ending.")
                await _response(503, body, {"Retry-After": str(_BUSY_SECONDS)})(scope, receive, noting_status)
        finally:
            self._metrics.end(scope, status, time.perf_counter() - began)

    async def _traces(self, request: Request) -> Response:
        headers = request.headers
        self._require_token(headers.get("authorization", ""))
        media_type = _media_type(request)
        if media_type not in (PROTOBUF, JSON):
            _refuse(415, f"Content-Type must be {PROTOBUF} or {JSON}.", {"Accept-Post": f"{PROTOBUF}, {JSON}"})
        encoding = headers.get("content-encoding", "").strip().lower() or "identity"
        if encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            _refuse(415, f"Content-Encoding must be one of {known}.", {"Accept-Encoding": known})
        try:
            taken = await self._intake.take(request, media_type, encoding)
        except ClientDisconnect:
            return _NoResponse()
        except OTLPDecodeError as error:
            _refuse(400, error.message)
        except (BodyTooLargeError, TooMuchError):
            _refuse(413, "The body is too large. Send fewer spans at once.")
        except BusyError as error:
            _retry(str(error), _BUSY_SECONDS)
        except JournalUnavailableError:
            self._health.refused()
            _retry("The records cannot be kept at present.", _UNAVAILABLE_SECONDS)
        self._metrics.took(taken)
        return _response(200, answers.success(media_type, taken.rejected))

    async def _tell_health(self, _: Request) -> Response:
        told = await self._health.look()
        return JSONResponse(told, 200 if told["status"] == "ok" else 503)

    async def _tell_metrics(self, request: Request) -> Response:
        self._require_token(request.headers.get("authorization", ""))
        return Response(
            prometheus.text(self._metrics.numbers, await self._health.look()), media_type=prometheus.MEDIA_TYPE
        )

    def _require_token(self, authorization: str) -> None:
        if not is_authorized(authorization, self._tokens()):
            _refuse(401, "A bearer token is needed, and a known one.", {"WWW-Authenticate": "Bearer"})

    async def _refused(self, request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if "expect" in request.headers:
            # Its body was not asked for, and may come or not: nothing else can be read on this connection.
            headers["Connection"] = "close"
        detail = _UNKNOWN_PATH if error.status_code == 404 else error.detail
        if error.status_code in _DROPPED:
            self._warner.warn(
                f"refused {error.status_code}",
                "A request was answered %d, and a Collector drops what is answered so: %s",
                error.status_code,
                detail,
            )
        return _response(error.status_code, _failure(request, error.status_code, detail), headers)

    async def _unexpected(self, request: Request, _: Exception) -> Response:
        return _response(
            503, _failure(request, 503, "Something unexpected happened."), {"Retry-After": str(_UNAVAILABLE_SECONDS)}
        )

    def _tell(self, error: BaseException) -> None:
        """Log what nobody expected, and where; its message may quote what was sent."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" in {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        self._warner.warn("unexpected", "A request was answered 503: %s%s", type(error).__name__, where)


class _NoResponse(Response):
    """To a client that has gone: nothing is sent, so its status is none."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do nothing."""


def _media_type(request: Request) -> str:
    return answers.media_type(request.headers.get("content-type", ""))


def _refuse(status: int, message: str, headers: dict[str, str] | None = None) -> NoReturn:
    raise HTTPException(status, message, headers)


def _retry(message: str, seconds: int) -> NoReturn:
    _refuse(503, message, {"Retry-After": str(seconds)})


def _failure(request: Request, status: int, message: str) -> answers.Body:
    return answers.failure(_media_type(request), status, message)


def _response(status: int, body: answers.Body, headers: dict[str, str] | None = None) -> Response:
    return Response(body.content, status, {"Content-Type": body.media_type, **(headers or {})})
