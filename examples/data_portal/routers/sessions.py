"""Sign in with a password, sign out with the token that was given for it."""

from fastapi import APIRouter, status

from ..hashing import hash_token
from ..models import IssuedToken, SignIn
from ..security import PresentedToken, SignedInUser, user_of_password
from ..storage import Database
from .tokens import issue

router = APIRouter(tags=["sessions"])


@router.post("/login", status_code=status.HTTP_201_CREATED)
def login(body: SignIn, database: Database) -> IssuedToken:
    user = user_of_password(database, body.username, body.password)
    return issue(database, user, name=None)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
def logout(user: SignedInUser, token: PresentedToken, database: Database) -> None:
    with database:
        database.execute("DELETE FROM tokens WHERE user_id = ? AND secret_hash = ?", (user.id, hash_token(token or "")))
