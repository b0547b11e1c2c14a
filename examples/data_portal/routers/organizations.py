"""Who publishes datasets."""

import sqlite3

from fastapi import APIRouter, status

from ..dependencies import Part, conflict, may_see, not_found
from ..models import Dataset, Organization, Page
from ..security import Administrator, Visitor
from ..storage import Database

router = APIRouter(prefix="/organizations", tags=["organizations"])


@router.get("")
def list_organizations(database: Database, part: Part, _: Visitor) -> Page[Organization]:
    return Page[Organization].model_validate(part.select(database, "SELECT * FROM organizations ORDER BY title"))


@router.post("", status_code=status.HTTP_201_CREATED)
def create_organization(body: Organization, _: Administrator, database: Database) -> Organization:
    try:
        with database:
            database.execute("INSERT INTO organizations VALUES (?, ?)", (body.id, body.title))
    except sqlite3.IntegrityError:
        raise conflict("There is an organization of that name.") from None
    return body


@router.get("/{organization_id}")
def view_organization(organization_id: str, database: Database, _: Visitor) -> Organization:
    row = database.execute("SELECT * FROM organizations WHERE id = ?", (organization_id,)).fetchone()
    if row is None:
        raise not_found("organization")
    return Organization(**row)


@router.get("/{organization_id}/datasets")
def list_datasets_of_organization(organization_id: str, database: Database, user: Visitor, part: Part) -> Page[Dataset]:
    view_organization(organization_id, database, user)
    sql = "SELECT * FROM datasets WHERE organization_id = ? AND private <= ? ORDER BY id"
    everything = may_see(user, organization_id, private=True)
    return Page[Dataset].model_validate(part.select(database, sql, (organization_id, everything)))
