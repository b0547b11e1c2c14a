"""The files of a dataset: view, upload, download, preview."""

import csv
import hashlib
import sqlite3
import uuid
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Body, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse

from .. import activity
from ..dependencies import ChangeableDataset, Part, VisibleDataset, VisibleFile, conflict, has_current
from ..models import File, Page, Preview
from ..security import SignedInUser
from ..storage import CurrentStorage, Database
from ..usage import record_access

router = APIRouter(prefix="/datasets/{dataset_id}/files", tags=["files"])

MAX_BYTES = 10 * 1024 * 1024
PREVIEW_ROWS = 10


@router.get("")
def list_files(dataset: VisibleDataset, database: Database, part: Part) -> Page[File]:
    sql = "SELECT * FROM files WHERE dataset_id = ? ORDER BY name"
    return Page[File].model_validate(part.select(database, sql, (dataset.id,)))


@router.post("", status_code=status.HTTP_201_CREATED)
def upload_file(
    dataset: ChangeableDataset,
    name: Annotated[str, Query(pattern=r"^[\w.-]{1,100}$")],
    content: Annotated[bytes, Body(media_type="text/csv")],
    user: SignedInUser,
    database: Database,
    storage: CurrentStorage,
    after: BackgroundTasks,
) -> File:
    if len(content) > MAX_BYTES:
        raise HTTPException(413, f"A file has at most {MAX_BYTES} bytes.")
    file = File(
        id=str(uuid.uuid4()),
        dataset_id=dataset.id,
        name=name,
        media_type="text/csv",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        downloads=0,
    )
    storage.write(file.id, content)
    try:
        _insert(database, file)
    except sqlite3.IntegrityError:
        storage.content(file.id).unlink()
        raise conflict("The dataset has a file of that name.") from None
    after.add_task(activity.note, storage, user, "added a file to", dataset.id)
    return file


def _insert(database: sqlite3.Connection, file: File) -> None:
    with database:
        database.execute(
            "INSERT INTO files VALUES (:id, :dataset_id, :name, :media_type, :size, :sha256, :downloads)",
            file.model_dump(),
        )


@router.get("/{file_id}")
def view_file(file: VisibleFile) -> File:
    return file


@router.head("/{file_id}/download", response_class=FileResponse, include_in_schema=False)
@router.get("/{file_id}/download", response_class=FileResponse)
def download_file(file: VisibleFile, request: Request, storage: CurrentStorage, after: BackgroundTasks) -> Response:
    """The file's bytes, or the range of them that is asked for."""
    # Optional: reports then say "levels-2024.csv" beside the file's id.
    record_access("file", file.id, name=file.name, parent=("dataset", file.dataset_id))
    etag = f'"{file.sha256}"'
    if has_current(request, etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
    if request.method == "GET":
        after.add_task(activity.count_download, storage, file.id)
    return FileResponse(
        storage.content(file.id), media_type=file.media_type, filename=file.name, headers={"ETag": etag}
    )


@router.get("/{file_id}/preview")
def preview_file(file: VisibleFile, storage: CurrentStorage) -> Preview:
    """The first rows. Fails where a file is not UTF-8: every portal has a bug, and reports show where."""
    with storage.content(file.id).open(encoding="utf-8", newline="") as lines:
        table = list(islice(csv.reader(lines), PREVIEW_ROWS + 1))
    return Preview(columns=table[0] if table else [], rows=table[1:])
