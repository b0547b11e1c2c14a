"""The tests that every framework must pass; each framework's file says what differs and adds its own."""

from typing import Any, ClassVar

import pytest

from tests.integration import cases, known
from tests.integration.site import wait_for


class FrameworkTests:
    """Needs a fixture `site`: the application after `cases.drive` and `cases.collect`.

    Attributes:
        routes: Case -> its route in the framework's own spelling.
        operations: Case -> the route under its human name; None where it has none.
        more_requests: How many requests were made besides the cases and the one that was walked away from.
        different: Case -> columns that this framework fills otherwise.
    """

    routes: ClassVar[dict[str, str]]
    operations: ClassVar[dict[str, str | None]] = {}
    more_requests: ClassVar[int] = 0
    different: ClassVar[dict[str, dict[str, Any]]] = {}

    @pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
    def test_row(self, site, case):
        """Each request has one row, and it says what the request was."""
        cases.check(site, cases.with_row(case, **self.different.get(case.name, {})))

    def test_every_request_has_one_row(self, site):
        """There are as many rows as requests."""
        assert len(site.rows) == len(cases.CASES) + 1 + self.more_requests

    def test_route(self, site):
        """The route is the framework's own, or derived where there is none."""
        assert {name: site.row_of(name)["route"] for name in self.routes} == self.routes

    def test_operation(self, site):
        """The operation is the framework's own name of the route."""
        assert {name: site.row_of(name)["operation"] for name in self.operations} == self.operations

    def test_client_that_goes_away(self, site):
        """A client that goes away in the middle of a download is in the rows with what had passed."""
        cases.check_walk_away(site, told=self.is_told_who_left(site))

    def is_told_who_left(self, site) -> bool:
        """Whether the server tells the application that nobody listens any more; many ASGI servers do not."""
        return True

    def test_exception_reaches_the_log(self, site):
        """The unhandled exception arrives where it would without us."""
        wait_for(lambda: "RuntimeError: boom on purpose" in site.log, seconds=5)

    def test_what_is_known_is_documented(self, site, update_docs):
        """The table of the documentation says what the rows say."""
        cells = known.of_framework(site, told=self.is_told_who_left(site))
        known.check("frameworks", site.label, cells, update=update_docs)

    def test_no_credential_is_kept(self, site):
        """No raw credential is found anywhere afterwards."""
        cases.check_secrets(site)


class SessionTests:
    """For frameworks with sessions: needs a case `login` by POST /login and two requests `with-session`."""

    session_user: ClassVar[tuple[str, str | None]]

    def test_session(self, site):
        """A session cookie is a token of scheme session, the same for as long as the session is, and has its user."""
        rows = [row for row in site.rows if row["user_agent"] == "with-session"]
        assert len(rows) == 2
        assert {(row["user_id"], row["user_name"]) for row in rows} == {self.session_user}
        assert {row["token_scheme"] for row in rows} == {"session"}
        assert len({row["token_id"] for row in rows} - {None}) == 1

    def test_login(self, site):
        """Signing in is the action login."""
        assert site.row_of("login")["action"] == "login"


class ResetTests:
    """For frameworks with templates: needs the three requests of `cases.reset`."""

    def test_credential_in_the_path(self, site):
        """A parameter that is named like a credential is one: no resource, and not in the path, met or not."""
        row = site.row_of("reset")
        assert (row["status_code"], row["resource_type"]) == (200, None)
        assert row["path"] == "/reset/REDACTED/"
        assert site.row_of("reset-redirected")["path"] == "/reset/REDACTED"
        assert site.row_of("reset-left")["referrer"].endswith("/reset/REDACTED/")


def check_websocket(site):
    """The WebSocket that `feed` opened is one row: its handshake's status, its frames' bytes."""
    row = site.row_of("feed")
    told = (row["method"], row["status_code"], row["request_bytes"], row["response_bytes"], row["action"])
    assert told == ("GET", 101, 5, 10, "view")
    assert row["resource_id"] == "5"
