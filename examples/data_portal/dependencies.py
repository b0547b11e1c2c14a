"""What several routes ask for: a part of a list, a dataset or file the user may see or change."""

import sqlite3
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, Query, Request, status

from .models import Dataset, File, User
from .security import SignedInUser, Visitor, forbidden, unauthorized
from .storage import Database


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list is asked for."""

    limit: Annotated[int, Query(ge=1, le=100)] = 20
    offset: Annotated[int, Query(ge=0)] = 0

    def select(self, database: sqlite3.Connection, sql: str, parameters: tuple[object, ...] = ()) -> dict[str, object]:
        """That part of the rows of a query, as the fields of a `Page`."""
        total = database.execute(f"SELECT count(*) FROM ({sql})", parameters).fetchone()[0]
        rows = database.execute(f"{sql} LIMIT ? OFFSET ?", (*parameters, self.limit, self.offset)).fetchall()
        return {
            "total": total,
            "limit": self.limit,
            "offset": self.offset,
            "items": [dict(row) for row in rows],
        }


def may_see(user: User | None, organization_id: str, private: bool) -> bool:
    if not private:
        return True
    return user is not None and (user.role == "admin" or user.organization_id == organization_id)


def may_change(user: User, organization_id: str) -> bool:
    return user.role == "admin" or (user.role == "editor" and user.organization_id == organization_id)


def visible_dataset(dataset_id: str, database: Database, user: Visitor) -> Dataset:
    row = database.execute("SELECT * FROM datasets WHERE id = ?", (dataset_id,)).fetchone()
    if row is None:
        raise not_found("dataset")
    dataset = Dataset(**row)
    if may_see(user, dataset.organization_id, dataset.private):
        return dataset
    raise forbidden("This dataset is private.") if user else unauthorized("This dataset is private.")


def changeable_dataset(dataset: Annotated[Dataset, Depends(visible_dataset)], user: SignedInUser) -> Dataset:
    if not may_change(user, dataset.organization_id):
        raise forbidden("Only editors of its organization may change a dataset.")
    return dataset


def visible_file(file_id: UUID, dataset: Annotated[Dataset, Depends(visible_dataset)], database: Database) -> File:
    row = database.execute("SELECT * FROM files WHERE id = ? AND dataset_id = ?", (str(file_id), dataset.id)).fetchone()
    if row is None:
        raise not_found("file")
    return File(**row)


def has_current(request: Request, etag: str) -> bool:
    """Whether the client holds this version already, so that 304 is the answer (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
    return etag in tags or "*" in tags


def not_found(what: str) -> HTTPException:
    return HTTPException(status.HTTP_404_NOT_FOUND, f"There is no such {what}.")


def conflict(detail: str) -> HTTPException:
    return HTTPException(status.HTTP_409_CONFLICT, detail)


VisibleDataset = Annotated[Dataset, Depends(visible_dataset)]
ChangeableDataset = Annotated[Dataset, Depends(changeable_dataset)]
VisibleFile = Annotated[File, Depends(visible_file)]
Part = Annotated[Paging, Depends()]
