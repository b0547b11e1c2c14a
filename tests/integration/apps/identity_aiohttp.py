"""aiohttp-security with each kind of policy, in applications inside another, as the integration tests drive it."""

import hmac
import sys

import jwt
from aiohttp import web
from aiohttp_security import (
    AbstractAuthorizationPolicy,
    AbstractIdentityPolicy,
    CookiesIdentityPolicy,
    JWTIdentityPolicy,
    authorized_userid,
    check_authorized,
    check_permission,
    remember,
    setup,
)

JWT_KEY = "only for tests, signs nothing of value"
USER_OF_KEY = {"key-9876543210zyxwvutsrq": "carol"}


class Users(AbstractAuthorizationPolicy):
    """Everybody is somebody; only carol may write."""

    async def authorized_userid(self, identity):
        return f"u-{identity}"

    async def permits(self, identity, permission, context=None):
        return identity == "carol"


class KeyIdentityPolicy(AbstractIdentityPolicy):
    """A policy of the application's own: keys in a header."""

    async def identify(self, request):
        given = request.headers.get("X-API-Key", "")
        return next((user for key, user in USER_OF_KEY.items() if hmac.compare_digest(key, given)), None)

    async def remember(self, request, response, identity, **kwargs):
        pass

    async def forget(self, request, response):
        pass


async def whoever(request):
    return web.Response(text=str(await authorized_userid(request)))


async def somebody(request):
    await check_authorized(request)
    return web.Response(text="in")


async def write(request):
    await check_permission(request, "write")
    return web.Response(text="written")


async def sign_in(request):
    response = web.Response(text="in")
    await remember(request, response, "dave")
    return response


def application(policy: AbstractIdentityPolicy) -> web.Application:
    app = web.Application()
    setup(app, policy, Users())
    app.add_routes([web.get("/whoever", whoever), web.get("/somebody", somebody), web.get("/write", write)])
    app.add_routes([web.post("/login", sign_in)])
    return app


def token(user: str) -> str:
    return jwt.encode({"login": user}, JWT_KEY, algorithm="HS256")


if __name__ == "__main__":
    app = web.Application()
    app.add_subapp("/jwt", application(JWTIdentityPolicy(JWT_KEY)))
    app.add_subapp("/cookie", application(CookiesIdentityPolicy()))
    app.add_subapp("/key", application(KeyIdentityPolicy()))
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
