"""The kinds of request the demo sends: one function each, from a visitor to a planned request."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from otel_usage.demo.visitor import (
    ADMINISTRATOR,
    ANONYMOUS,
    DASHBOARD,
    HARVESTER,
    NOTEBOOK,
    PASSWORD,
    SPREADSHEET,
    WATER_EDITOR,
    PlannedRequest,
    Visitor,
    basic,
)

_JSON: Final = {"Content-Type": "application/json"}
_WORDS: Final = ("water", "air", "river", "bicycle", "rain", "departures", "parcels", "noise")
_LIST: Final = "/datasets"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request and its weight among all."""

    name: str
    share: float
    build: Callable[[Visitor], PlannedRequest]


def _list(visitor: Visitor) -> PlannedRequest:
    offset = visitor.draw.choice((0, 0, 0, 20, 40))
    return visitor.ask(visitor.reader(), "GET", _LIST, query={"limit": 20, "offset": offset})


def _search(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(visitor.reader(), "GET", "/search", query={"q": visitor.draw.choice(_WORDS)})


def _view(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(visitor.reader(), "GET", f"/datasets/{visitor.dataset()}")


def _view_unchanged(visitor: Visitor) -> PlannedRequest:
    headers = {"If-None-Match": "*"}
    return visitor.ask(HARVESTER, "GET", f"/datasets/{visitor.dataset()}", headers=headers)


def _head(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(HARVESTER, "HEAD", f"/datasets/{visitor.dataset()}")


def _view_file(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(visitor.reader(), "GET", _file_path(visitor))


def _preview(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(ANONYMOUS, "GET", f"{_file_path(visitor)}/preview")


def _download(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(visitor.reader(), "GET", f"{_file_path(visitor)}/download")


def _download_part(visitor: Visitor) -> PlannedRequest:
    start = visitor.draw.randrange(100)
    headers = {"Range": f"bytes={start}-{start + 199}"}
    return visitor.ask(DASHBOARD, "GET", f"{_file_path(visitor)}/download", headers=headers)


def _file_path(visitor: Visitor) -> str:
    dataset, file_id = visitor.file()
    return f"/datasets/{dataset}/files/{file_id}"


def _export(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(HARVESTER, "GET", "/export/datasets.csv")


def _organization(visitor: Visitor) -> PlannedRequest:
    name = visitor.draw.choice(list(visitor.data.ORGANIZATIONS))
    tail = visitor.draw.choice(("", "", "/datasets"))
    return visitor.ask(visitor.reader(), "GET", f"/organizations/{name}{tail}")


def _activity(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(NOTEBOOK, "GET", "/activity", query={"limit": 10})


def _profile(visitor: Visitor) -> PlannedRequest:
    caller = visitor.draw.choice((NOTEBOOK, DASHBOARD, SPREADSHEET, PASSWORD))
    return visitor.ask(caller, "GET", visitor.draw.choice(("/users/me", "/tokens")))


def _administration(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(ADMINISTRATOR, "GET", "/users")


def _private(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(WATER_EDITOR, "GET", "/datasets/pipe-inspections")


def _create(visitor: Visitor) -> PlannedRequest:
    name = visitor.new_name()
    visitor.created.append(name)
    body = {"id": name, "organization_id": "water-authority", "title": f"Gauge {name}"}
    return visitor.ask(WATER_EDITOR, "POST", _LIST, headers=_JSON, body=json.dumps(body).encode())


def _create_twice(visitor: Visitor) -> PlannedRequest:
    body = {"id": "rainfall", "organization_id": "water-authority", "title": "Rain, once more"}
    return visitor.ask(WATER_EDITOR, "POST", _LIST, headers=_JSON, body=json.dumps(body).encode())


def _change(visitor: Visitor) -> PlannedRequest:
    name = visitor.draw.choice([*visitor.created, "drinking-water"])
    body = json.dumps({"title": f"Water, revision {visitor.draw.randrange(100)}"}).encode()
    return visitor.ask(WATER_EDITOR, "PATCH", f"/datasets/{name}", headers=_JSON, body=body)


def _upload(visitor: Visitor) -> PlannedRequest:
    query = {"name": f"{visitor.new_name()}.csv"}
    return visitor.ask(
        WATER_EDITOR,
        "POST",
        "/datasets/river-levels/files",
        query=query,
        headers={"Content-Type": "text/csv"},
        body=b"row,value\n" + b"0,1.5\n" * visitor.draw.randrange(1, 200),
    )


def _delete(visitor: Visitor) -> PlannedRequest:
    name = visitor.created.pop() if visitor.created else "never-created"
    return visitor.ask(WATER_EDITOR, "DELETE", f"/datasets/{name}")


def _sign_in(visitor: Visitor) -> PlannedRequest:
    return _login(visitor, visitor.data.password("journalist"))


def _sign_in_wrongly(visitor: Visitor) -> PlannedRequest:
    return _login(visitor, f"wrong-{visitor.draw.getrandbits(64):016x}")


def _login(visitor: Visitor, password: str) -> PlannedRequest:
    body = json.dumps({"username": "journalist", "password": password}).encode()
    return visitor.ask(ANONYMOUS, "POST", "/login", headers=_JSON, body=body)


def _wrong_token(visitor: Visitor) -> PlannedRequest:
    headers = {"Authorization": f"Bearer dp_{visitor.draw.getrandbits(160):040x}"}
    return visitor.ask(ANONYMOUS, "GET", f"/datasets/{visitor.dataset()}", headers=headers)


def _wrong_password(visitor: Visitor) -> PlannedRequest:
    headers = {"Authorization": basic("analyst", f"wrong-{visitor.draw.getrandbits(64):016x}")}
    return visitor.ask(ANONYMOUS, "GET", _LIST, headers=headers)


def _not_signed_in(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(ANONYMOUS, "GET", visitor.draw.choice(("/users/me", "/datasets/owners", "/activity")))


def _forbidden(visitor: Visitor) -> PlannedRequest:
    method, path = visitor.draw.choice(
        (("GET", "/datasets/owners"), ("GET", "/users"), ("DELETE", "/datasets/rainfall"))
    )
    return visitor.ask(visitor.draw.choice((NOTEBOOK, SPREADSHEET)), method, path)


def _missing(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(visitor.reader(), "GET", visitor.draw.choice(("/datasets/noise", "/users/me/avatar")))


def _unknown_route(visitor: Visitor) -> PlannedRequest:
    return visitor.ask(ANONYMOUS, "GET", visitor.draw.choice(("/wp-login.php", "/.env", "/api/v1/datasets")))


def _invalid(visitor: Visitor) -> PlannedRequest:
    path, query = visitor.draw.choice((("/search", {"q": "w"}), (_LIST, {"limit": 1000})))
    return visitor.ask(visitor.reader(), "GET", path, query=query)


def _broken(visitor: Visitor) -> PlannedRequest:
    file_id = visitor.data.file_id("harbour-soundings", visitor.data.LATIN_FILE.name)
    return visitor.ask(ANONYMOUS, "GET", f"/datasets/harbour-soundings/files/{file_id}/preview")


KINDS: Final = (
    Kind("view a dataset", 16, _view),
    Kind("download a file", 16, _download),
    Kind("search", 11, _search),
    Kind("list datasets", 10, _list),
    Kind("view a file", 6, _view_file),
    Kind("view an organization", 5, _organization),
    Kind("download part of a file", 4, _download_part),
    Kind("view a dataset, unchanged", 3, _view_unchanged),
    Kind("ask for headers only", 3, _head),
    Kind("preview a file", 3, _preview),
    Kind("read the activity stream", 2, _activity),
    Kind("view one's own profile", 2, _profile),
    Kind("view a private dataset", 1, _private),
    Kind("export the catalogue", 1, _export),
    Kind("list users", 0.5, _administration),
    Kind("create a dataset", 1.5, _create),
    Kind("change a dataset", 1.5, _change),
    Kind("upload a file", 1, _upload),
    Kind("delete a dataset", 0.7, _delete),
    Kind("create what exists", 0.5, _create_twice),
    Kind("sign in", 1, _sign_in),
    Kind("sign in with a wrong password", 1, _sign_in_wrongly),
    Kind("present a wrong token", 1, _wrong_token),
    Kind("present a wrong password", 0.5, _wrong_password),
    Kind("ask without signing in", 1, _not_signed_in),
    Kind("ask for something forbidden", 1.5, _forbidden),
    Kind("ask for something missing", 2, _missing),
    Kind("ask for a route that is none", 1, _unknown_route),
    Kind("ask with a bad parameter", 1.5, _invalid),
    Kind("run into the portal's bug", 1, _broken),
)
