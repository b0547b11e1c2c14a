"""Pyramid's security and authentication policies, each in an application of its own under its own prefix."""

import sys
from wsgiref.util import shift_path_info

from pyramid.authentication import (
    AuthTktAuthenticationPolicy,
    AuthTktCookieHelper,
    BasicAuthAuthenticationPolicy,
    RemoteUserAuthenticationPolicy,
    SessionAuthenticationPolicy,
)
from pyramid.authorization import ACLAuthorizationPolicy, ACLHelper, Allow, Authenticated, Everyone
from pyramid.config import Configurator
from pyramid.request import RequestLocalCache
from pyramid.response import Response
from pyramid.security import forget, remember
from pyramid.session import SignedCookieSessionFactory

SECRET = "only for tests, signs nothing of value"


class User:
    def __init__(self, user_id: int, name: str) -> None:
        self.id = user_id
        self.name = name


def query(request, user_id):
    """A table of users; its queries are in the log."""
    print(f"query for {request.path}", file=sys.stderr, flush=True)
    return {7: User(7, "heidi")}.get(user_id)


class TicketPolicy:
    """A user from a table behind a ticket, as Pyramid's tutorial writes it."""

    def __init__(self) -> None:
        self.ticket = AuthTktCookieHelper(SECRET, cookie_name="ticket")
        self.cache = RequestLocalCache(self.load)
        self.acl = ACLHelper()

    def load(self, request):
        found = self.ticket.identify(request)
        return None if found is None else query(request, found["userid"])

    def identity(self, request):
        return self.cache.get_or_create(request)

    def authenticated_userid(self, request):
        user = self.identity(request)
        return None if user is None else user.id

    def permits(self, request, context, permission):
        principals = [Everyone] if self.identity(request) is None else [Everyone, Authenticated]
        return self.acl.permits(context, principals, permission)

    def remember(self, request, userid, **kw):
        return self.ticket.remember(request, userid, **kw)

    def forget(self, request, **kw):
        return self.ticket.forget(request)


class HelperPolicy(TicketPolicy):
    """The ticket is all that is known of the user."""

    def __init__(self) -> None:
        super().__init__()
        self.ticket = AuthTktCookieHelper(SECRET)

    def identity(self, request):
        return self.ticket.identify(request)


class Root:
    __acl__ = [(Allow, Authenticated, "read")]

    def __init__(self, request) -> None:
        pass


def check(username, password, request):
    return ["group:readers"] if password.endswith("battery") else None


def dataset(request):
    return Response("content")


def unasked(request):
    return Response("nobody asked")


def sign_in(request):
    user_id = request.params["user"]
    response = Response("in")
    response.headerlist.extend(remember(request, int(user_id) if user_id.isdigit() else user_id))
    return response


def sign_out(request):
    response = Response("out")
    response.headerlist.extend(forget(request))
    return response


def application(policy):
    """A site with one protected view, under a policy of either generation."""
    with Configurator(root_factory=Root, session_factory=SignedCookieSessionFactory(SECRET)) as config:
        if hasattr(policy, "effective_principals"):
            config.set_authorization_policy(ACLAuthorizationPolicy())
            config.set_authentication_policy(policy)
        else:
            config.set_security_policy(policy)
        config.add_route("dataset", "datasets/{dataset_id}")
        config.add_route("unasked", "unasked")
        config.add_route("login", "login")
        config.add_route("logout", "logout")
        config.add_view(dataset, route_name="dataset", permission="read")
        config.add_view(unasked, route_name="unasked")
        config.add_view(sign_in, route_name="login")
        config.add_view(sign_out, route_name="logout")
    return config.make_wsgi_app()


applications = {
    "ticket": application(TicketPolicy()),
    "helper": application(HelperPolicy()),
    "legacy-ticket": application(AuthTktAuthenticationPolicy(SECRET, cookie_name="legacy")),
    "legacy-session": application(SessionAuthenticationPolicy()),
    "legacy-basic": application(BasicAuthAuthenticationPolicy(check)),
    "legacy-remote": application(RemoteUserAuthenticationPolicy()),
}


def app(environ, start_response):
    """The server in front says who it is; the first part of the path says which application is asked."""
    if "HTTP_X_SIGNED_IN" in environ:
        environ["REMOTE_USER"] = environ["HTTP_X_SIGNED_IN"]
    return applications[shift_path_info(environ)](environ, start_response)
