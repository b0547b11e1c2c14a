"""The example portal by itself: two uvicorn workers, no instrumentation, every kind of route."""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from otel_usage.demo import client, portal, server, traffic
from otel_usage.demo.visitor import basic

DATA: ModuleType = portal.example_data()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The portal's port."""
    directory = tmp_path_factory.mktemp("portal")
    command = [portal.script("uvicorn"), *server.arguments(portal.APPLICATION, portal.examples_directory())]
    environ = {**os.environ, "DATA_PORTAL_DIRECTORY": str(directory / "data")}
    with server.running(command, environ=environ, log=directory / "server.log") as port:
        yield port


@pytest.fixture
def ask(port: int) -> Ask:
    """Sends a request on a connection of its own, so that either worker may answer."""

    def ask(method: str, target: str, *, token: str = "", body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {DATA.token_secret(token)}"
        if isinstance(body, dict):
            body, sent["Content-Type"] = json.dumps(body), "application/json"
        connection = http.client.HTTPConnection(server.HOST, port, timeout=30)
        connection.request(method, target, body, sent)
        with connection.getresponse() as response:
            answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    return ask


LEVELS = f"/datasets/river-levels/files/{DATA.file_id('river-levels', 'levels-2024.csv')}"
LATIN = f"/datasets/harbour-soundings/files/{DATA.file_id('harbour-soundings', 'soundings-1998.csv')}"


def test_lists_are_in_parts(ask: Ask) -> None:
    """limit and offset choose the part, total counts all."""
    whole = ask("GET", "/datasets").json
    part = ask("GET", "/datasets?limit=2&offset=1").json
    assert (part["total"], part["items"]) == (whole["total"], whole["items"][1:3])


def test_both_workers_serve_the_same(ask: Ask) -> None:
    """Forty connections, over which worker ever, see one portal."""
    assert len({ask("GET", "/datasets/rainfall").body for _ in range(40)}) == 1


def test_a_file_is_downloaded_whole(ask: Ask) -> None:
    """The bytes, a name to save them under, and a tag."""
    answer = ask("GET", f"{LEVELS}/download")
    assert answer.status == 200
    assert answer.body == DATA.file_content(DATA.DATASETS[0].files[1])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="levels-2024.csv"'


def test_a_part_of_a_file_is_downloaded(ask: Ask) -> None:
    """A range gives 206 and these bytes; one beyond the end gives 416."""
    answer = ask("GET", f"{LEVELS}/download", Range="bytes=4-10")
    assert (answer.status, answer.body) == (206, b"station")
    assert ask("GET", f"{LEVELS}/download", Range="bytes=99999999-").status == 416


@pytest.mark.parametrize("path", ["/datasets/rainfall", f"{LEVELS}/download"])
def test_what_the_client_has_is_not_sent_again(ask: Ask, path: str) -> None:
    """The tag of an answer, sent back, gives 304 without a body."""
    etag = ask("GET", path).headers["ETag"]
    answer = ask("GET", path, If_None_Match=etag)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)


@pytest.mark.parametrize("path", ["/datasets/rainfall", f"{LEVELS}/download"])
def test_head_has_the_headers_of_get_and_no_body(ask: Ask, path: str) -> None:
    """Length and tag agree."""
    head, get = ask("HEAD", path), ask("GET", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))


def test_the_catalogue_is_streamed(ask: Ask) -> None:
    """A table without a length said beforehand, and without private datasets."""
    answer = ask("GET", "/export/datasets.csv")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body.startswith(b"dataset,title,organization,file,size\r\n")
    assert b"owners" not in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {DATA.token_secret('analyst-notebook')}"},
        {"X_API_Key": DATA.token_secret("analyst-dashboard")},
        {"Authorization": basic("analyst", DATA.password("analyst"))},
    ],
    ids=["bearer", "header", "basic"],
)
def test_a_user_is_known_by_any_header(ask: Ask, headers: dict[str, str]) -> None:
    """Bearer, X-API-Key and Basic name the same user."""
    assert ask("GET", "/users/me", **headers).json["username"] == "analyst"


def test_a_user_is_known_by_a_query_parameter(ask: Ask) -> None:
    """api_key is the fourth way."""
    answer = ask("GET", f"/users/me?api_key={DATA.token_secret('journalist-spreadsheet')}")
    assert answer.json["username"] == "journalist"


def test_a_token_lives_from_login_to_logout(ask: Ask) -> None:
    """Signing in gives a token, which works until it is signed out."""
    credentials = {"username": "journalist", "password": DATA.password("journalist")}
    bearer = {"Authorization": f"Bearer {ask('POST', '/login', body=credentials).json['secret']}"}
    assert ask("GET", "/users/me", **bearer).json["username"] == "journalist"
    assert ask("POST", "/logout", **bearer).status == 204
    assert ask("GET", "/users/me", **bearer).status == 401


def test_tokens_are_created_listed_and_revoked(ask: Ask) -> None:
    """The secret is in the first answer only; a second token of that name is a conflict."""
    made = ask("POST", "/tokens", token="journalist-spreadsheet", body={"name": "extra"})
    listed = ask("GET", "/tokens", token="journalist-spreadsheet")
    assert made.json["secret"].encode() not in listed.body and b"extra" in listed.body
    assert ask("POST", "/tokens", token="journalist-spreadsheet", body={"name": "extra"}).status == 409
    path = f"/tokens/{made.json['id']}"
    assert ask("DELETE", path, token="analyst-notebook").status == 404
    assert ask("DELETE", path, token="journalist-spreadsheet").status == 204


def test_a_dataset_lives_from_creation_to_deletion(ask: Ask) -> None:
    """Create, upload, change, find, delete; each step is seen by whichever worker answers next."""
    new = {"id": "test-wells", "organization_id": "water-authority", "title": "Wells"}
    editor = "water-publishing"
    assert ask("POST", "/datasets", token=editor, body=new).status == 201
    file = ask(
        "POST", "/datasets/test-wells/files?name=w.csv", token=editor, body=b"a,b\n1,2\n", Content_Type="text/csv"
    )
    assert file.json["size"] == 8
    path = f"/datasets/test-wells/files/{file.json['id']}"
    assert ask("GET", f"{path}/preview").json == {"columns": ["a", "b"], "rows": [["1", "2"]]}
    assert ask("PATCH", "/datasets/test-wells", token=editor, body={"title": "Deep wells"}).json["version"] == 2
    assert ask("GET", "/search?q=deep").json["total"] == 1
    assert ask("DELETE", "/datasets/test-wells", token=editor).status == 204
    assert ask("GET", f"{path}/download").status == 404
    stream = ask("GET", "/activity", token="analyst-notebook").json["items"]
    assert [item["what"] for item in stream if item["dataset_id"] == "test-wells"] == [
        "deleted",
        "changed",
        "added a file to",
        "created",
    ]


@pytest.mark.parametrize(
    ("status", "method", "target", "token", "body"),
    [
        (401, "GET", "/users/me", "", None),
        (401, "GET", "/datasets/owners", "", None),
        (401, "POST", "/login", "", {"username": "analyst", "password": "wrong"}),
        (403, "GET", "/datasets/owners", "analyst-notebook", None),
        (403, "GET", "/users", "analyst-notebook", None),
        (403, "DELETE", "/datasets/rainfall", "water-publishing", None),
        (404, "GET", "/datasets/noise", "", None),
        (404, "GET", "/organizations/noise/datasets", "", None),
        (404, "GET", "/no-such-route", "", None),
        (405, "DELETE", "/search", "", None),
        (409, "POST", "/organizations", "administration", {"id": "land-registry", "title": "Land"}),
        (422, "GET", "/search?q=w", "", None),
        (422, "GET", "/datasets/rainfall/files/no-uuid", "", None),
        (422, "POST", "/datasets", "water-publishing", {"id": "Not A Name"}),
        (500, "GET", f"{LATIN}/preview", "", None),
    ],
)
def test_what_goes_wrong_has_its_status(
    ask: Ask, status: int, method: str, target: str, token: str, body: dict[str, str] | None
) -> None:
    """Wrong credentials, missing rights, missing things, conflicts, bad input, and the portal's bug."""
    assert ask(method, target, token=token, body=body).status == status


def test_a_wrong_token_is_refused_where_none_is_needed(ask: Ask) -> None:
    """A mistyped token is told, not taken for a visitor's absence of one."""
    assert ask("GET", "/datasets", Authorization="Bearer dp_mistyped").status == 401


def test_members_see_what_is_private(ask: Ask) -> None:
    """By its address and in the list of their organization."""
    assert ask("GET", "/datasets/pipe-inspections", token="water-publishing").status == 200
    path = "/organizations/water-authority/datasets"
    assert b"pipe-inspections" in ask("GET", path, token="water-publishing").body
    assert b"pipe-inspections" not in ask("GET", path).body


def test_a_download_is_counted_after_the_answer(ask: Ask) -> None:
    """A background task of either worker writes; HEAD is no download."""
    path = f"/datasets/parcels/files/{DATA.file_id('parcels', 'parcels.csv')}"
    ask("HEAD", f"{path}/download")
    ask("GET", f"{path}/download")
    # The task may end after the answer: the next look waits for it, and the bound is the test's own.
    assert any(ask("GET", path).json["downloads"] == 1 for _ in range(500))


def test_the_documentation_is_complete(ask: Ask) -> None:
    """Every route has a schema, and the four ways to present a credential are in it."""
    schemes = ask("GET", "/openapi.json").json["components"]["securitySchemes"]
    assert set(schemes) == {"HTTPBearer", "APIKeyHeader", "APIKeyQuery", "HTTPBasic"}


def test_the_planned_traffic_meets_every_status(port: int) -> None:
    """What the demo sends is answered, all of it, with the statuses it is meant to get."""
    plans = traffic.plan(DATA, 200)
    tally = client.send(server.HOST, port, plans, progress=lambda _: None)
    assert (tally.answered, tally.failed) == (200, 0)
    assert set(tally.statuses) == {200, 201, 204, 206, 304, 401, 403, 404, 409, 422, 500}
