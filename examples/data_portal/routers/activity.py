"""The activity stream: what changed in the portal."""

from fastapi import APIRouter

from ..dependencies import Part
from ..models import Activity, Page
from ..security import SignedInUser
from ..storage import Database

router = APIRouter(prefix="/activity", tags=["activity"])


@router.get("")
def list_activities(_: SignedInUser, database: Database, part: Part) -> Page[Activity]:
    sql = "SELECT at, username, what, dataset_id FROM activities ORDER BY id DESC"
    return Page[Activity].model_validate(part.select(database, sql))
