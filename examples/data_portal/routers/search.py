"""Search by words of the title."""

from typing import Annotated

from fastapi import APIRouter, Query

from ..dependencies import Part
from ..models import Dataset, Page
from ..security import Visitor
from ..storage import Database

router = APIRouter(prefix="/search", tags=["search"])


@router.get("")
def search_datasets(
    q: Annotated[str, Query(min_length=2, max_length=100)], database: Database, part: Part, _: Visitor
) -> Page[Dataset]:
    sql = "SELECT * FROM datasets WHERE NOT private AND instr(lower(title), lower(?)) ORDER BY title, id"
    return Page[Dataset].model_validate(part.select(database, sql, (q,)))
