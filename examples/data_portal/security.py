"""Who sends a request: three ways to present a token, and HTTP Basic for passwords."""

import sqlite3
from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.security import (
    APIKeyHeader,
    APIKeyQuery,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)

from .hashing import hash_token, verify_password
from .models import User
from .storage import Database
from .usage import identify

_USER_COLUMNS = "users.id, users.username, users.role, users.organization_id"


def presented_token(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    header: Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
    parameter: Annotated[str | None, Depends(APIKeyQuery(name="api_key", auto_error=False))],
) -> str | None:
    return bearer.credentials if bearer else header or parameter


def current_user(
    database: Database,
    token: Annotated[str | None, Depends(presented_token)],
    basic: Annotated[HTTPBasicCredentials | None, Depends(HTTPBasic(auto_error=False))],
) -> User | None:
    """The user, or None for a visitor who presents nothing; what is presented must be right."""
    if token:
        return _user_of_token(database, token)
    if basic:
        return user_of_password(database, basic.username, basic.password)
    return None


def _user_of_token(database: sqlite3.Connection, token: str) -> User:
    row = database.execute(
        f"SELECT {_USER_COLUMNS}, tokens.name AS token_name"
        " FROM tokens JOIN users ON users.id = tokens.user_id WHERE tokens.secret_hash = ?",
        (hash_token(token),),
    ).fetchone()
    if row is None:
        raise unauthorized("This token is unknown or was revoked.")
    # Optional: reports then say "harvester-nightly" beside the token's fingerprint.
    identify(token_name=row["token_name"])
    return User(**row)


def user_of_password(database: sqlite3.Connection, username: str, password: str) -> User:
    row = database.execute(
        f"SELECT {_USER_COLUMNS}, password_hash FROM users WHERE username = ?", (username,)
    ).fetchone()
    if row is None or not verify_password(password, row["password_hash"]):
        raise unauthorized("Wrong user name or password.")
    return User(**row)


def signed_in_user(user: Annotated[User | None, Depends(current_user)]) -> User:
    if user is None:
        raise unauthorized("Sign in first.")
    return user


def administrator(user: Annotated[User, Depends(signed_in_user)]) -> User:
    if user.role != "admin":
        raise forbidden("Only administrators may do this.")
    return user


def unauthorized(detail: str) -> HTTPException:
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})


def forbidden(detail: str) -> HTTPException:
    return HTTPException(status.HTTP_403_FORBIDDEN, detail)


PresentedToken = Annotated[str | None, Depends(presented_token)]
Visitor = Annotated[User | None, Depends(current_user)]
SignedInUser = Annotated[User, Depends(signed_in_user)]
Administrator = Annotated[User, Depends(administrator)]
