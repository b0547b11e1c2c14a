"""Starlette with the ways that people sign in to it, side by side, and without a word to otel-usage."""

import os
from dataclasses import dataclass

import jwt
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

KEY = "only for tests, signs nothing of value"


class Account(BaseUser):
    """A user of the application's own, as Starlette describes one."""

    def __init__(self, claims: dict) -> None:
        self.claims = claims

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.claims["name"]

    @property
    def identity(self) -> str:
        return self.claims["sub"]


@dataclass
class ApiKey:
    id: int
    name: str
    owner: str


class Credentials(AuthCredentials):
    """What the token may, and which it is."""

    def __init__(self, scopes: list[str], jti: str) -> None:
        super().__init__(scopes)
        self.jti = jti


class Bearer(AuthenticationBackend):
    async def authenticate(self, conn):
        scheme, _, given = conn.headers.get("Authorization", "").partition(" ")
        if scheme == "Token":
            return AuthCredentials(["authenticated"]), SimpleUser("grace")
        if conn.headers.get("X-API-Key") == os.environ["NIGHTLY_KEY"]:
            return AuthCredentials(["authenticated"]), ApiKey(31, "nightly export", "alice")
        if scheme != "Bearer":
            return None
        try:
            claims = jwt.decode(given, KEY, algorithms=["HS256"])
        except jwt.InvalidTokenError as error:
            raise AuthenticationError("no such token") from error
        return Credentials(["authenticated"], claims["jti"]), Account(claims)


@requires("authenticated")
async def page(request):
    return JSONResponse(request.path_params["page_id"])


async def open_page(request):
    return JSONResponse(request.path_params["page_id"])


oauth = OAuth()
oauth.register("portal", client_id="portal", client_secret=KEY, authorize_url="https://id.example/authorize")


async def oauth_login(request):
    return await oauth.portal.authorize_redirect(request, "https://portal.example/oauth/callback")


async def oauth_callback(request):
    request.session["user"] = {"sub": "s-9", "preferred_username": "Grace", "email": "grace@portal.example"}
    return JSONResponse("in")


async def sign_in(request):
    request.session["user_id"] = 7
    return JSONResponse("in")


async def sign_out(request):
    request.session.clear()
    return JSONResponse("out")


bearer = [Middleware(AuthenticationMiddleware, backend=Bearer())]
pages = [Route("/pages/{page_id}", page), Route("/open/{page_id}", open_page)]
app = Starlette(
    routes=[
        Mount("/bearer", routes=pages, middleware=bearer),
        Route("/oauth/login", oauth_login),
        Route("/oauth/callback", oauth_callback),
        Route("/login", sign_in, methods=["POST"]),
        Route("/logout", sign_out, methods=["POST"]),
        Route("/pages/{page_id}", open_page),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=KEY, session_cookie="portal")],
)
