"""What a new portal holds: plain data, and the credentials of its users.

Imports nothing but the standard library, so that a client may load this file alone. Credentials are derived
from names, hence the same in every worker and written down nowhere. They are also known to everyone who reads
this: an example, never a pattern.

`python -m data_portal.example_data token analyst-notebook` prints a token, `... password analyst` a password.
"""

import hashlib
import random
import sys
import uuid
from typing import Final, NamedTuple


class ExampleUser(NamedTuple):
    """A user; editors belong to the organization whose datasets they may change."""

    username: str
    role: str
    organization: str | None


class ExampleFile(NamedTuple):
    """A file of a dataset, with as many rows of measurements as `rows` says."""

    name: str
    media_type: str
    rows: int


class ExampleDataset(NamedTuple):
    """A dataset; only members of its organization see a private one."""

    name: str
    organization: str
    title: str
    private: bool
    files: tuple[ExampleFile, ...]


ORGANIZATIONS: Final = {
    "water-authority": "Water Authority",
    "city-transport": "City Transport",
    "weather-service": "Weather Service",
    "land-registry": "Land Registry",
}

USERS: Final = (
    ExampleUser("administrator", "admin", None),
    ExampleUser("water-editor", "editor", "water-authority"),
    ExampleUser("transport-editor", "editor", "city-transport"),
    ExampleUser("analyst", "reader", "weather-service"),
    ExampleUser("journalist", "reader", None),
    ExampleUser("harvester", "reader", None),
)

# Token name -> whose it is.
TOKENS: Final = {
    "administration": "administrator",
    "water-publishing": "water-editor",
    "transport-publishing": "transport-editor",
    "analyst-notebook": "analyst",
    "analyst-dashboard": "analyst",
    "journalist-spreadsheet": "journalist",
    "harvester-nightly": "harvester",
}


def _table(name: str, rows: int) -> ExampleFile:
    return ExampleFile(name, "text/csv", rows)


# A file whose bytes are not UTF-8: the portal's preview has a bug that it shows.
LATIN_FILE: Final = _table("soundings-1998.csv", 400)

DATASETS: Final = (
    ExampleDataset(
        "river-levels",
        "water-authority",
        "River levels, every quarter of an hour",
        False,
        (_table("levels-2023.csv", 6000), _table("levels-2024.csv", 7000), _table("stations.csv", 60)),
    ),
    ExampleDataset(
        "bus-departures",
        "city-transport",
        "Bus departures, planned and real",
        False,
        (_table("departures-monday.csv", 3000), _table("departures-sunday.csv", 1500)),
    ),
    ExampleDataset(
        "air-temperature",
        "weather-service",
        "Air temperature at two metres",
        False,
        (_table("hourly.csv", 9000), _table("daily-mean.csv", 365)),
    ),
    ExampleDataset("rainfall", "weather-service", "Rainfall by station", False, (_table("rainfall-2024.csv", 2000),)),
    ExampleDataset("drinking-water", "water-authority", "Drinking water quality", False, (_table("samples.csv", 800),)),
    ExampleDataset(
        "bicycle-counts",
        "city-transport",
        "Bicycles counted at bridges",
        False,
        (_table("counts-2024.csv", 1200), _table("bridges.csv", 12)),
    ),
    ExampleDataset("parcels", "land-registry", "Parcels and their use", False, (_table("parcels.csv", 4000),)),
    ExampleDataset("harbour-soundings", "water-authority", "Soundings of the old harbour", False, (LATIN_FILE,)),
    ExampleDataset(
        "pipe-inspections", "water-authority", "Inspections of mains", True, (_table("inspections.csv", 300),)
    ),
    ExampleDataset("owners", "land-registry", "Owners, for notaries only", True, (_table("owners.csv", 500),)),
)


def token_secret(token_name: str) -> str:
    """The text a client sends for the token of that name."""
    return "dp_" + hashlib.sha256(f"data-portal token {token_name}".encode()).hexdigest()[:40]


def password(username: str) -> str:
    """The password with which that user signs in."""
    return hashlib.sha256(f"data-portal password {username}".encode()).hexdigest()[:20]


def file_id(dataset: str, file_name: str) -> str:
    """The id of a file that a new portal holds."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"data-portal/{dataset}/{file_name}"))


def file_content(file: ExampleFile) -> bytes:
    """The bytes of that file: the same measurements on every machine."""
    draw = random.Random(file.name)  # noqa: S311 - measurements, not secrets
    lines = ["row,station,value,unit"]
    lines += [f"{row},S{draw.randrange(40):02},{draw.uniform(-5, 40):.2f},°C" for row in range(file.rows)]
    return "\n".join([*lines, ""]).encode("latin-1" if file is LATIN_FILE else "utf-8")


if __name__ == "__main__":
    print({"token": token_secret, "password": password}[sys.argv[1]](sys.argv[2]))
