"""Datasets: list, view, create, change, delete."""

import sqlite3
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Request, Response, status

from .. import activity
from ..dependencies import (
    ChangeableDataset,
    Part,
    VisibleDataset,
    conflict,
    has_current,
    may_change,
    not_found,
)
from ..models import Dataset, DatasetChange, NewDataset, Page
from ..security import SignedInUser, Visitor, forbidden
from ..storage import CurrentStorage, Database, now

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.get("")
def list_datasets(
    database: Database, part: Part, _: Visitor, organization: Annotated[str | None, Query()] = None
) -> Page[Dataset]:
    sql = "SELECT * FROM datasets WHERE NOT private AND organization_id = coalesce(?, organization_id) ORDER BY id"
    return Page[Dataset].model_validate(part.select(database, sql, (organization,)))


@router.post("", status_code=status.HTTP_201_CREATED)
def create_dataset(
    body: NewDataset, user: SignedInUser, database: Database, storage: CurrentStorage, after: BackgroundTasks
) -> Dataset:
    if not database.execute("SELECT 1 FROM organizations WHERE id = ?", (body.organization_id,)).fetchone():
        raise not_found("organization")
    if not may_change(user, body.organization_id):
        raise forbidden("Only editors of that organization may add datasets.")
    dataset = Dataset(**body.model_dump(), version=1, updated_at=now())
    try:
        with database:
            database.execute(
                "INSERT INTO datasets VALUES (:id, :organization_id, :title, :private, :version, :updated_at)",
                dataset.model_dump(),
            )
    except sqlite3.IntegrityError:
        raise conflict("There is a dataset of that name.") from None
    after.add_task(activity.note, storage, user, "created", dataset.id)
    return dataset


@router.head("/{dataset_id}", response_model=Dataset, include_in_schema=False)
@router.get("/{dataset_id}", response_model=Dataset)
def view_dataset(dataset: VisibleDataset, request: Request, response: Response) -> Dataset | Response:
    etag = f'"{dataset.id}-{dataset.version}"'
    if has_current(request, etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return dataset


@router.patch("/{dataset_id}")
def change_dataset(
    body: DatasetChange,
    dataset: ChangeableDataset,
    user: SignedInUser,
    database: Database,
    storage: CurrentStorage,
    after: BackgroundTasks,
) -> Dataset:
    with database:
        row = database.execute(
            "UPDATE datasets SET title = ?, private = coalesce(?, private), version = version + 1,"
            " updated_at = ? WHERE id = ? RETURNING *",
            (body.title, body.private, now(), dataset.id),
        ).fetchone()
    after.add_task(activity.note, storage, user, "changed", dataset.id)
    return Dataset(**row)


@router.delete("/{dataset_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_dataset(
    dataset: ChangeableDataset,
    user: SignedInUser,
    database: Database,
    storage: CurrentStorage,
    after: BackgroundTasks,
) -> None:
    files = database.execute("SELECT id FROM files WHERE dataset_id = ?", (dataset.id,)).fetchall()
    with database:
        database.execute("DELETE FROM datasets WHERE id = ?", (dataset.id,))
    for file in files:
        storage.content(file["id"]).unlink(missing_ok=True)
    after.add_task(activity.note, storage, user, "deleted", dataset.id)
