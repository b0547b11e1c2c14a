"""A user's own tokens."""

import secrets
import sqlite3

from fastapi import APIRouter, status

from ..dependencies import Part, conflict, not_found
from ..hashing import hash_token, new_token
from ..models import IssuedToken, NewToken, Page, Token, User
from ..security import SignedInUser
from ..storage import Database, now

router = APIRouter(prefix="/tokens", tags=["tokens"])


def issue(database: sqlite3.Connection, user: User, name: str | None) -> IssuedToken:
    """Make a token; its secret is in the answer and nowhere else.

    Args:
        name: None for a session, which gets a name nobody has.

    Raises:
        HTTPException: 409, the user has a token of that name.
    """
    secret, created_at = new_token(), now()
    name = name or f"session-{secrets.token_hex(4)}"
    try:
        with database:
            cursor = database.execute(
                "INSERT INTO tokens (user_id, name, secret_hash, created_at) VALUES (?, ?, ?, ?)",
                (user.id, name, hash_token(secret), created_at),
            )
    except sqlite3.IntegrityError:
        raise conflict("You have a token of that name.") from None
    return IssuedToken(id=cursor.lastrowid or 0, name=name, created_at=created_at, secret=secret)


@router.get("")
def list_tokens(user: SignedInUser, database: Database, part: Part) -> Page[Token]:
    sql = "SELECT id, name, created_at FROM tokens WHERE user_id = ? ORDER BY id"
    return Page[Token].model_validate(part.select(database, sql, (user.id,)))


@router.post("", status_code=status.HTTP_201_CREATED)
def create_token(body: NewToken, user: SignedInUser, database: Database) -> IssuedToken:
    return issue(database, user, body.name)


@router.delete("/{token_id}", status_code=status.HTTP_204_NO_CONTENT)
def revoke_token(token_id: int, user: SignedInUser, database: Database) -> None:
    with database:
        done = database.execute("DELETE FROM tokens WHERE id = ? AND user_id = ?", (token_id, user.id))
    if not done.rowcount:
        raise not_found("token")
