"""What the portal notes after it has answered."""

from contextlib import closing

from .models import User
from .storage import Storage, now


def note(storage: Storage, user: User, what: str, dataset_id: str) -> None:
    """Add a line to the activity stream."""
    with closing(storage.connect()) as database, database:
        database.execute(
            "INSERT INTO activities (at, username, what, dataset_id) VALUES (?, ?, ?, ?)",
            (now(), user.username, what, dataset_id),
        )


def count_download(storage: Storage, file_id: str) -> None:
    with closing(storage.connect()) as database, database:
        database.execute("UPDATE files SET downloads = downloads + 1 WHERE id = ?", (file_id,))
