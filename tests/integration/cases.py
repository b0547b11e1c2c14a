"""What every framework is asked, and what its rows must say: one table for all of them."""

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from websockets.sync.client import connect

from tests.integration.site import Site, wait_for

TOKEN = "tok-0123456789abcdefghij"
API_KEY = "key-9876543210zyxwvutsrq"
QUERY_KEY = "qry-5555555555aaaaaaaaaa"
PASSWORD = "correct-horse-battery"
OWN_KEY = "own-1212121212bbbbbbbbbb"
RESET = "reset-abcdefgh12345678"
CREDENTIALS = (TOKEN, API_KEY, QUERY_KEY, PASSWORD, OWN_KEY, RESET)


def jwt(**claims: Any) -> str:
    """An unsigned JSON Web Token of these claims; nobody here verifies it."""
    parts = ({"alg": "none"}, claims)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join(encoded) + ".c2ln"


CLAIMS = jwt(iss="https://id.example", sub="carol", azp="portal", exp=4102444800, preferred_username="Carol")
BASIC = base64.b64encode(f"dave:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Case:
    """One request and the columns its row must have."""

    name: str
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    status: int = 200
    row: dict[str, Any] = field(default_factory=dict)
    token: str | None = None


NOBODY = {"token_id": None, "token_scheme": None, "user_id": None, "user_source": None}
ALICE = {"user_id": "alice", "token_scheme": "bearer", "token_hint": "…ghij"}
DATASET = {"resource_type": "dataset", "resource_id": "42", "resource_parent_type": "organization"}

CASES = [
    Case(
        "view",
        "GET",
        "/organizations/acme/datasets/42",
        {"Authorization": f"Bearer {TOKEN}", "Referer": f"http://portal.example/?token={QUERY_KEY}"},
        token=TOKEN,
        row={
            **ALICE,
            **DATASET,
            "resource_parent_id": "acme",
            "action": "view",
            "referrer": "http://portal.example/?token=REDACTED",
        },
    ),
    Case("anonymous", "GET", "/datasets", row={**NOBODY, "action": "list", "resource_type": None}),
    Case(
        "api-key",
        "GET",
        "/organizations/acme/datasets/42",
        {"X-API-Key": API_KEY},
        token=API_KEY,
        row={**DATASET, "token_scheme": "api_key", "token_hint": "…tsrq", "user_id": None, "action": "view"},
    ),
    Case(
        "query-key",
        "GET",
        f"/datasets?q=rain&api_key={QUERY_KEY}",
        token=QUERY_KEY,
        row={"token_scheme": "api_key", "query": "q=rain&api_key=REDACTED", "path": "/datasets", "action": "search"},
    ),
    Case(
        "basic",
        "GET",
        "/claims/7",
        {"Authorization": f"Basic {BASIC}"},
        row={"user_id": "dave", "user_source": "basic", "token_id": None, "resource_type": "claim", "resource_id": "7"},
    ),
    Case(
        "claims",
        "GET",
        "/claims/7",
        {"Authorization": f"Bearer {CLAIMS}"},
        row={"user_id": "carol", "user_name": "Carol", "user_source": "jwt", "token_scheme": "bearer"},
    ),
    Case(
        "refused",
        "GET",
        "/private/1",
        {"Authorization": f"Bearer {CLAIMS}"},
        status=401,
        row={"user_id": None, "token_scheme": "bearer", "is_error": True, "action": "view", "resource_id": "1"},
    ),
    Case(
        "create",
        "POST",
        "/datasets",
        {"Content-Type": "application/octet-stream"},
        body=b"x" * 12345,
        status=201,
        row={"action": "create", "request_bytes": 12345},
    ),
    Case(
        "download",
        "GET",
        "/datasets/d-9/download",
        row={"action": "download", "response_bytes": 5000, "resource_type": "dataset", "resource_id": "d-9"},
    ),
    Case(
        "missing",
        "GET",
        "/organizations/acme/datasets/404",
        status=404,
        row={"resource_id": "404", "action": "view", "is_error": True},
    ),
    Case("nowhere", "GET", "/nowhere/at-all", status=404, row={"resource_type": None, "route": None, "is_error": True}),
    Case("boom", "GET", "/boom", status=500, row={"error_type": "RuntimeError", "is_error": True}),
    Case("head", "HEAD", "/files/3", row={"method": "HEAD", "action": None, "response_bytes": 0, "resource_id": "3"}),
    Case(
        "cached",
        "GET",
        "/files/3",
        {"If-None-Match": '"1"'},
        status=304,
        row={"action": "view", "response_bytes": 0, "resource_type": "file", "is_error": False},
    ),
    Case(
        "said",
        "GET",
        "/said",
        {"X-API-Key": API_KEY},
        token=API_KEY,
        row={
            "user_id": "u-7",
            "user_name": "Grace",
            "user_source": "application",
            "token_name": "nightly export",
            "resource_type": "report",
            "resource_id": "r-1",
            "resource_name": "Yearly",
            "resource_parent_type": "project",
            "resource_parent_id": "p-9",
            "action": "render",
        },
    ),
]

# Where there is no template, only what looks like an id is one, and what contains it is not guessed.
DERIVED_ROUTES = {"view": "/organizations/acme/datasets/{id}", "claims": "/claims/{id}", "anonymous": "/datasets"}
DERIVED = {
    "view": {"resource_parent_type": None, "resource_parent_id": None},
    "api-key": {"resource_parent_type": None},
    "download": {"resource_type": None, "resource_id": None},
}


def with_row(case: Case, **columns: Any) -> Case:
    """The same request, with other columns expected."""
    return replace(case, row={**case.row, **columns})


def drive(site: Site) -> None:
    """Ask all cases, let one client go away in the middle, and read the rows."""
    for case in CASES:
        site.answers[case.name] = site.ask(
            case.method, case.target, {"User-Agent": case.name, **case.headers}, case.body
        )
    walk_away(site)


def sign_in(site: Site, *more_cookies: str) -> None:
    """Sign in and make two requests with the session, with another cookie of the same session if one is given."""
    answer = site.ask("POST", "/login", {"User-Agent": "login"})
    cookie = answer.headers["set-cookie"].partition(";")[0]
    for each in (cookie, *more_cookies, cookie)[:2]:
        site.ask("GET", "/datasets", {"User-Agent": "with-session", "Cookie": each})


def reset(site: Site) -> None:
    """Follow a link with a credential in its path: as it is, without its slash, and away from its page."""
    page = f"http://127.0.0.1:{site.port}/reset/{RESET}/"
    site.ask("GET", f"/reset/{RESET}/", {"User-Agent": "reset"})
    site.ask("GET", f"/reset/{RESET}", {"User-Agent": "reset-redirected"})
    site.ask("GET", "/datasets", {"User-Agent": "reset-left", "Referer": page})


def feed(site: Site) -> None:
    """Open a WebSocket that answers every message twice over."""
    with connect(f"ws://127.0.0.1:{site.port}/feeds/5", user_agent_header="feed") as client:
        client.send("twice")
        assert client.recv() == "twicetwice"


def walk_away(site: Site) -> None:
    """Ask for 20 MB, take a little and reset the connection."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(b"GET /datasets/d-9/download?chunks=20000 HTTP/1.1\r\nHost: x\r\nUser-Agent: walk-away\r\n\r\n")
        client.recv(4096)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def collect(site: Site) -> None:
    """Wait until the request that was walked away from has its row, then stop the server and read everything."""
    wait_for(lambda: any(row["user_agent"] == "walk-away" for row in site.read_rows()))
    site.stop()
    site.read_rows()


def check(site: Site, case: Case) -> None:
    """The answer is what the application said, and the row says the same."""
    answer = site.answers[case.name]
    assert answer.status == case.status
    row = site.row_of(case.name)
    expected: dict[str, Any] = {"method": case.method, "status_code": case.status, "sampled": True, **case.row}
    if "response_bytes" not in expected:
        expected["response_bytes"] = len(answer.body)
    expected.setdefault("request_bytes", 0)
    if case.status == 500:
        # The server's own page, made after the exception has left the application.
        expected.pop("response_bytes")
    if case.token is not None:
        expected["token_id"] = token_id(site, case.token)
    assert {name: row[name] for name in expected} == expected


def token_id(site: Site, token: str) -> str:
    """The fingerprint by the definition, from the deployment key that the site made."""
    key = site.store.with_name("usage.duckdb.key").read_bytes().rstrip(b"\n")
    return "tok_" + hmac.new(key, token.encode(), hashlib.sha256).hexdigest()[:16]


def check_walk_away(site: Site, *, told: bool) -> None:
    """A client that goes away leaves a row with the bytes that had passed.

    Args:
        site: After `walk_away`.
        told: Whether the application learns of it: then the row says so. Otherwise what it handed over counts.
    """
    row = site.row_of("walk-away")
    assert (row["status_code"], row["action"]) == (200, "download")
    assert 0 < row["response_bytes"] <= 20_000_000
    if told:
        assert row["response_bytes"] < 20_000_000
        assert row["error_type"] is not None


def check_secrets(site: Site) -> None:
    """No credential that was used lies in the store, the journal, the log or a report."""
    said = [site.cli("report", "tokens", "--format", form).stdout for form in ("table", "json")]
    kept = [path.read_bytes() for path in site.directory.rglob("*") if path.is_file() and path.suffix != ".py"]
    # Django REST framework keeps its own tokens in clear in its own database.
    ours = [data for data in kept if not data.startswith(b"SQLite format 3")]
    for credential in (*CREDENTIALS, CLAIMS, BASIC):
        found = any(credential.encode() in data for data in ours) or any(credential in text for text in said)
        assert not found, "a raw credential is kept"
