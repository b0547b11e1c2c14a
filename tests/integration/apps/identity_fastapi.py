"""FastAPI with the libraries that people sign in with, side by side, and without a word to otel-usage."""

import os
import uuid
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Security
from fastapi.security import (
    APIKeyHeader,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
    OAuth2PasswordBearer,
    SecurityScopes,
)
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, CookieTransport, JWTStrategy
from fastapi_users.db import BaseUserDatabase
from jose import JWTError
from jose import jwt as jose_jwt
from starlette.middleware.sessions import SessionMiddleware

KEY = "only for tests, signs nothing of value"
ALICE_ID = uuid.UUID(int=5)

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=KEY, session_cookie="portal")
bearer = HTTPBearer(auto_error=False)
oauth2 = OAuth2PasswordBearer("token", auto_error=False, scopes={"read": "Look", "write": "Change"})
named_key = APIKeyHeader(name="X-Portal-Key", auto_error=False)


@dataclass
class User:
    id: str
    username: str


@dataclass
class Dataset:
    id: int
    name: str


# PyJWT: the claims themselves, and a user made of them further out.


def claims_of(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> dict[str, Any] | None:
    if credentials is None:
        return None
    try:
        return jwt.decode(credentials.credentials, KEY, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401) from error


def user_of(claims: Annotated[dict[str, Any] | None, Depends(claims_of)]) -> User | None:
    return None if claims is None else User(claims["sub"], f"{claims['sub']}@portal")


def admin(user: Annotated[User | None, Depends(user_of)]) -> User:
    raise HTTPException(403)


@app.get("/pyjwt/claims/{item_id}")
def with_claims(item_id: int, claims: Annotated[dict[str, Any] | None, Depends(claims_of)]):
    return item_id


@app.get("/pyjwt/user/{item_id}")
def with_user(item_id: int, user: Annotated[User | None, Depends(user_of)]):
    return item_id


def dataset_of(item_id: int, user: Annotated[User | None, Depends(user_of)]) -> Dataset:
    return Dataset(item_id, "Air quality")


@app.get("/pyjwt/datasets/{item_id}")
def with_dataset(dataset: Annotated[Dataset, Depends(dataset_of)]):
    return dataset.id


@app.get("/pyjwt/admin/{item_id}", dependencies=[Depends(admin)])
def with_admin(item_id: int):
    return item_id


class VerifiedBearer(HTTPBearer):
    """A scheme that does the whole work, as many applications have it."""

    async def __call__(self, request: Request):
        credentials = await super().__call__(request)
        return jwt.decode(credentials.credentials, KEY, algorithms=["HS256"])


@app.get("/pyjwt/scheme/{item_id}", dependencies=[Depends(VerifiedBearer())])
def with_scheme(item_id: int):
    return item_id


# python-jose, with scopes and a dependency that cleans up.


async def jose_user(scopes: SecurityScopes, token: Annotated[str | None, Depends(oauth2)]):
    try:
        claims = jose_jwt.decode(token or "", KEY, algorithms=["HS256"])
    except JWTError as error:
        raise HTTPException(401) from error
    if not set(scopes.scopes) <= set(claims.get("scopes", ())):
        raise HTTPException(403)
    yield User(claims["sub"], f"{claims['sub']}@jose")


@app.get("/jose/read/{item_id}")
async def jose_read(item_id: int, user: Annotated[User, Security(jose_user, scopes=["read"])]):
    return item_id


# Rows of a table of keys: one with its owner, one of a program that belongs to nobody.


@dataclass
class ApiKey:
    id: int
    name: str
    owner: User | None


KEYS = {
    os.environ["NIGHTLY_KEY"]: ApiKey(31, "nightly export", User("alice", "alice@portal")),
    os.environ["MACHINE_KEY"]: ApiKey(32, "harvester", None),
}


class KeyChecker:
    """A dependency that is an object."""

    async def __call__(self, key: Annotated[str | None, Depends(named_key)]) -> ApiKey:
        if key not in KEYS:
            raise HTTPException(401)
        return KEYS[key]


keyed = APIRouter(prefix="/keys", dependencies=[Depends(KeyChecker())])


@keyed.get("/things/{thing_id}")
def thing(thing_id: int):
    return thing_id


app.include_router(keyed, prefix="/api")


@app.get("/basic/{item_id}")
def basic(item_id: int, credentials: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]):
    raise HTTPException(401)


# fastapi-users, with a database of one user.


@dataclass
class Member:
    id: uuid.UUID
    email: str
    hashed_password: str = ""
    is_active: bool = True
    is_superuser: bool = False
    is_verified: bool = False


class Members(BaseUserDatabase[Member, uuid.UUID]):
    member = Member(ALICE_ID, "alice@portal.example")

    async def get(self, user_id: uuid.UUID) -> Member | None:
        return self.member if user_id == self.member.id else None

    async def get_by_email(self, email: str) -> Member | None:
        return self.member if email == self.member.email else None

    async def update(self, user: Member, update_dict: dict[str, Any]) -> Member:
        user.__dict__.update(update_dict)
        return user


class Manager(UUIDIDMixin, BaseUserManager[Member, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = KEY


async def manager():
    manager = Manager(Members())
    if not Members.member.hashed_password:
        Members.member.hashed_password = manager.password_helper.hash(os.environ["PASSWORD"])
    yield manager


def strategy() -> JWTStrategy:
    return JWTStrategy(KEY, lifetime_seconds=3600)


by_header = AuthenticationBackend("jwt", BearerTransport("auth/jwt/login"), strategy)
by_cookie = AuthenticationBackend("cookie", CookieTransport(cookie_secure=False), strategy)
users = FastAPIUsers[Member, uuid.UUID](manager, [by_header, by_cookie])
app.include_router(users.get_auth_router(by_header), prefix="/auth/jwt")
app.include_router(users.get_auth_router(by_cookie), prefix="/auth/cookie")


@app.get("/members/{item_id}")
def members(item_id: int, member: Annotated[Member, Depends(users.current_user(active=True))]):
    return item_id


@app.get("/visitors/{item_id}")
def visitors(item_id: int, member: Annotated[Member | None, Depends(users.current_user(optional=True))]):
    return item_id


@app.get("/superusers/{item_id}")
def superusers(item_id: int, member: Annotated[Member, Depends(users.current_user(superuser=True))]):
    return item_id


@app.get("/with-token/{item_id}")
def with_token(item_id: int, both: Annotated[Any, Depends(users.authenticator.current_user_token())]):
    return item_id


# Authlib's client for Starlette: what its documentation does once the provider has sent the browser back.

oauth = OAuth()
oauth.register("portal", client_id="portal", client_secret=KEY, authorize_url="https://id.example/authorize")


@app.get("/oauth/login")
async def oauth_login(request: Request):
    return await oauth.portal.authorize_redirect(request, "https://portal.example/oauth/callback")


@app.get("/oauth/callback")
async def oauth_callback(request: Request):
    request.session["user"] = {"sub": "s-9", "preferred_username": "Grace", "email": "grace@portal.example"}
    return "in"


@app.get("/oauth/pages/{page_id}")
async def oauth_page(page_id: int):
    return page_id
