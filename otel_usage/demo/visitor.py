"""Who sends requests in the demo: callers with their credentials, and one seeded visitor per connection."""

import base64
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request to be sent, as `http.client` takes it; credentials stay out of its repr."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a program and a way to present a credential.

    Attributes:
        scheme: bearer, header (X-API-Key), query (api_key), basic, or anonymous.
        name: Name of the token, of the user for basic.
        share: Weight among the callers that only read.
    """

    scheme: str
    name: str
    user_agent: str
    share: int


_BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

HARVESTER: Final = Caller("bearer", "harvester-nightly", "portal-harvester/2.1", 24)
NOTEBOOK: Final = Caller("bearer", "analyst-notebook", "python-requests/2.32.5", 15)
DASHBOARD: Final = Caller("header", "analyst-dashboard", "Grafana/12.1", 13)
SPREADSHEET: Final = Caller("query", "journalist-spreadsheet", "LibreOffice/25.2", 9)
PASSWORD: Final = Caller("basic", "analyst", "curl/8.15.0", 5)
ANONYMOUS: Final = Caller("anonymous", "", _BROWSER, 25)
WATER_EDITOR: Final = Caller("bearer", "water-publishing", "portal-publisher/1.4", 5)
TRANSPORT_EDITOR: Final = Caller("header", "transport-publishing", "portal-publisher/1.4", 3)
ADMINISTRATOR: Final = Caller("bearer", "administration", _BROWSER, 1)

READERS: Final = (
    HARVESTER,
    NOTEBOOK,
    DASHBOARD,
    SPREADSHEET,
    PASSWORD,
    ANONYMOUS,
    WATER_EDITOR,
    TRANSPORT_EDITOR,
    ADMINISTRATOR,
)


class Visitor:
    """Draws what to ask for, the same for the same seed, whatever the portal answers.

    Args:
        data: The portal's `example_data`.
        number: Tells the visitors of a run apart; what one creates, no other touches.
    """

    def __init__(self, data: ModuleType, number: int) -> None:
        self.data = data
        self.number = number
        self.draw = random.Random(number)  # noqa: S311 - varied traffic, not secrets
        self.created: list[str] = []
        self.names_given = 0
        self._datasets = [dataset for dataset in data.DATASETS if not dataset.private]

    def reader(self) -> Caller:
        return self.draw.choices(READERS, [caller.share for caller in READERS])[0]

    def dataset(self) -> str:
        """A public dataset; the first are asked for more often than the last."""
        return str(self._popular().name)

    def file(self) -> tuple[str, str]:
        """A public dataset and the id of a file in it that can be read as a table."""
        dataset = self._popular()
        while self.data.LATIN_FILE in dataset.files:
            dataset = self._popular()
        return dataset.name, self.data.file_id(dataset.name, self.draw.choice(dataset.files).name)

    def _popular(self) -> Any:
        shares = [1 / rank for rank in range(1, len(self._datasets) + 1)]
        return self.draw.choices(self._datasets, shares)[0]

    def new_name(self) -> str:
        self.names_given += 1
        return f"draft-{self.number}-{self.names_given}"

    def ask(
        self,
        caller: Caller,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> PlannedRequest:
        """A request of that caller, with its credential."""
        parameters = dict(query or {}) | self._credential_parameters(caller)
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        own = {"User-Agent": caller.user_agent, **self._credential_headers(caller), **(headers or {})}
        return PlannedRequest(method, target, own, body)

    def _credential_parameters(self, caller: Caller) -> dict[str, object]:
        return {"api_key": self.data.token_secret(caller.name)} if caller.scheme == "query" else {}

    def _credential_headers(self, caller: Caller) -> dict[str, str]:
        match caller.scheme:
            case "bearer":
                return {"Authorization": f"Bearer {self.data.token_secret(caller.name)}"}
            case "header":
                return {"X-API-Key": self.data.token_secret(caller.name)}
            case "basic":
                return {"Authorization": basic(caller.name, self.data.password(caller.name))}
        return {}


def basic(username: str, password: str) -> str:
    """The Authorization header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
