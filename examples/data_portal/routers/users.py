"""Who the users are."""

from fastapi import APIRouter

from ..dependencies import Part, not_found
from ..models import Page, User
from ..security import Administrator, SignedInUser
from ..storage import Database

router = APIRouter(prefix="/users", tags=["users"])

_COLUMNS = "id, username, role, organization_id"


@router.get("")
def list_users(_: Administrator, database: Database, part: Part) -> Page[User]:
    return Page[User].model_validate(part.select(database, f"SELECT {_COLUMNS} FROM users ORDER BY id"))


@router.get("/me")
def view_own_profile(user: SignedInUser) -> User:
    return user


@router.get("/{username}")
def view_user(username: str, _: SignedInUser, database: Database) -> User:
    row = database.execute(f"SELECT {_COLUMNS} FROM users WHERE username = ?", (username,)).fetchone()
    if row is None:
        raise not_found("user")
    return User(**row)
