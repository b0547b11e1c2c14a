"""A small Pyramid application with a security policy, routes and traversal, as the integration tests drive it."""

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPNotFound, HTTPServiceUnavailable, HTTPUnauthorized
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import remember
from pyramid.session import SignedCookieSessionFactory
from pyramid.view import exception_view_config, notfound_view_config, view_config

from otel_usage import identify, record_access


class User:
    def __init__(self, user_id: str) -> None:
        self.id = user_id
        self.username = f"{user_id}@portal"


class Policy:
    def __init__(self) -> None:
        self.helper = SessionAuthenticationHelper()

    def identity(self, request):
        if request.headers.get("Authorization", "").startswith("Bearer tok"):
            return User("alice")
        user_id = self.helper.authenticated_userid(request)
        return None if user_id is None else User(user_id)

    def authenticated_userid(self, request):
        identity = self.identity(request)
        return None if identity is None else identity.id

    def remember(self, request, userid, **kw):
        return self.helper.remember(request, userid, **kw)


class Folder(dict):
    """A thing that traversal finds, and those in it."""


def look_at_user(handler, registry):
    """A tween that asks who it is, as an audit log does."""

    def tween(request):
        request.is_authenticated  # noqa: B018 - the answer is of no use here
        return handler(request)

    return tween


@view_config(route_name="dataset", request_method="GET", renderer="json")
def dataset(request):
    if request.matchdict["dataset_id"] == "404":
        raise HTTPNotFound
    return dict(request.matchdict)


@view_config(route_name="datasets", request_method="GET", renderer="json")
def datasets(request):
    return ["a", "b"]


@view_config(route_name="datasets", request_method="POST", renderer="json")
def create(request):
    request.response.status_int = 201
    return {"bytes": len(request.body)}


@view_config(route_name="download")
def download(request):
    chunks = (b"x" * 1000 for _ in range(int(request.params.get("chunks", 5))))
    return Response(app_iter=chunks, content_disposition="attachment; filename=a.csv")


@view_config(route_name="file", request_method="GET")
def cached(request):
    if request.headers.get("If-None-Match") == '"1"':
        return Response(status=304, etag="1")
    return Response("content", etag="1")


@view_config(route_name="private")
def private(request):
    raise HTTPUnauthorized


@view_config(route_name="claim", renderer="json")
def claim(request):
    return dict(request.matchdict)


@view_config(route_name="boom")
def boom(request):
    raise RuntimeError("boom on purpose")


@view_config(route_name="lookup")
def lookup(request):
    raise LookupError("answered by an exception view")


@exception_view_config(LookupError)
def lost(error, request):
    return Response("lost", status=503 if "hard" in request.params else 404)


@view_config(route_name="unavailable")
def unavailable(request):
    raise HTTPServiceUnavailable


@notfound_view_config()
def nowhere(request):
    return Response("nowhere", status=404)


@view_config(route_name="said")
def said(request):
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return Response("said")


@view_config(route_name="reset")
def reset(request):
    return Response("new password?")


@view_config(route_name="login", request_method="POST")
def sign_in(request):
    return Response("in", headerlist=[*Response().headerlist, *remember(request, "bob")])


@view_config(route_name="inside")
def inside(request):
    part = Request.blank("/claims/7", headers={"Authorization": "Bearer token-of-another-user"})
    return request.invoke_subrequest(part, use_tweens=True)


@view_config(route_name="pages", renderer="json")
def pages(request):
    return list(request.matchdict["path"])


@view_config(context=Folder, renderer="json")
@view_config(context=Folder, name="download", renderer="json")
def folder(context, request):
    return list(context)


ROUTES = {
    "dataset": "/organizations/{org}/datasets/{dataset_id}",
    "datasets": "/datasets",
    "download": "/datasets/{dataset_id}/download",
    "file": r"/files/{file_id:\d+}",
    "private": "/private/{item_id}",
    "claim": "/claims/{claim_id}",
    "boom": "/boom",
    "lookup": "/lookup",
    "unavailable": "/unavailable",
    "said": "/said",
    "reset": "/reset/{token}/",
    "login": "/login",
    "inside": "/inside",
    "pages": "/pages/*path",
}


def site(request):
    return {"folders": Folder({"7": Folder(a=1)})}


with Configurator(root_factory=site, session_factory=SignedCookieSessionFactory("only for tests")) as config:
    config.set_security_policy(Policy())
    config.add_tween("pyramid_app.look_at_user")
    for name, pattern in ROUTES.items():
        config.add_route(name, pattern)
    config.add_route("tree", "/tree/*traverse")
    config.add_view(folder, route_name="tree", context=Folder, renderer="json")
    config.scan("pyramid_app")

app = config.make_wsgi_app()
