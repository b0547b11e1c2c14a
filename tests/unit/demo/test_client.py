"""The client counts every request once and sends none twice."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from otel_usage.demo import client
from otel_usage.demo.client import Tally
from otel_usage.demo.visitor import PlannedRequest

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def requests(count: int) -> Iterator[PlannedRequest]:
    """So many plain requests."""
    return iter([PlannedRequest("GET", "/", {}, kind="look") for _ in range(count)])


@contextmanager
def server(answers: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one connection per answer, reads one request, answers and closes."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield listener.getsockname()[1], seen
        thread.join(10)


def test_a_request_without_an_answer_is_failed_and_not_sent_again() -> None:
    """The server saw two requests: the one it dropped, and the next."""
    closing = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with server([b"", closing]) as (port, seen):
        tally = client.send("127.0.0.1", port, [requests(2)], progress=lambda _: None)
    assert (tally.failed, dict(tally.statuses), len(seen)) == (1, {200: 1}, 2)


def test_after_a_server_error_a_new_connection_is_taken() -> None:
    """uvicorn closes after an unhandled error without saying so; the next request must not meet that."""
    error = ANSWER.replace(b"200 OK", b"500 Internal Server Error")
    with server([error, ANSWER]) as (port, _):
        tally = client.send("127.0.0.1", port, [requests(2)], progress=lambda _: None)
    assert (tally.failed, dict(tally.statuses)) == (0, {500: 1, 200: 1})


def test_progress_ends_at_the_number_sent() -> None:
    """Answered and failed requests are both done."""
    told: list[int] = []
    with server([b""]) as (port, _):
        client.send("127.0.0.1", port, [requests(1)], progress=told.append)
    assert told[-1] == 1


def test_statuses_are_counted_by_class() -> None:
    """Classes are in order, and those without an answer are left out."""
    tally = Tally()
    for status in (404, 200, 201, 500, None):
        tally.add(PlannedRequest("GET", "/", {}, kind="look"), status)
    assert tally.status_classes() == {"2xx": 2, "4xx": 1, "5xx": 1}
    assert (tally.answered, tally.failed, tally.kinds["look"]) == (4, 1, 4)
