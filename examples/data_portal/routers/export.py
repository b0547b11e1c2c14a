"""The whole catalogue as one table."""

import csv
import io
from collections.abc import Iterator
from contextlib import closing

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from ..security import Visitor
from ..storage import CurrentStorage, Storage

router = APIRouter(prefix="/export", tags=["export"])

_SQL = """
    SELECT datasets.id AS dataset, datasets.title, organizations.title AS organization,
           files.name AS file, files.size
    FROM datasets JOIN organizations ON organizations.id = organization_id
    LEFT JOIN files ON files.dataset_id = datasets.id
    WHERE NOT private ORDER BY datasets.id, files.name
"""


@router.get("/datasets.csv", response_class=StreamingResponse)
def export_datasets(storage: CurrentStorage, _: Visitor) -> StreamingResponse:
    headers = {"Content-Disposition": 'attachment; filename="datasets.csv"'}
    return StreamingResponse(_lines(storage), media_type="text/csv", headers=headers)


def _lines(storage: Storage) -> Iterator[str]:
    # Its own connection: that of the request may be closed before the last line is sent.
    with closing(storage.connect()) as database:
        rows = database.execute(_SQL)
        yield _line([column[0] for column in rows.description])
        for row in rows:
            yield _line(list(row))


def _line(cells: list[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
