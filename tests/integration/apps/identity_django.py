"""A Django site with several identity libraries side by side, as the integration tests drive it; all in one file."""

import json
import os
from datetime import timedelta
from functools import cache
from pathlib import Path

from django.db.backends.signals import connection_created
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.functional import SimpleLazyObject

HERE = Path(os.environ["SITE_DIRECTORY"])
SECRET_KEY = "only for tests, signs nothing of value"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = __name__
USE_TZ = True
LOGGING = {"version": 1, "handlers": {"console": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["console"]}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework.authtoken",
    "oauth2_provider",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "oauth2_provider.backends.OAuth2Backend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "site.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
OAUTH2_PROVIDER = {"SCOPES": {"read": "Reading"}}


def log_queries(connection, **_) -> None:
    """Note every statement that a request causes, in the order in which the database gets them."""

    def note(execute, sql, params, many, context):
        with (HERE / "queries.txt").open("a") as file:
            file.write(f"{sql}\n")
        return execute(sql, params, many, context)

    # A connection is opened again for each request, and keeps its wrappers.
    if not connection.execute_wrappers:
        connection.execute_wrappers.append(note)


if __name__ != "__main__":
    connection_created.connect(log_queries)


@cache
def api_key_model():
    from django.contrib.auth.models import User
    from django.db import models

    class ApiKey(models.Model):
        name = models.CharField(max_length=100)
        secret = models.CharField(max_length=100)
        owner = models.ForeignKey(User, models.CASCADE)

        class Meta:
            app_label = "portal"

    return ApiKey


@cache
def routes():
    from django.contrib.auth import get_user_model, login
    from django.urls import include, path
    from django.views.decorators.csrf import csrf_exempt
    from oauth2_provider.contrib.rest_framework import OAuth2Authentication
    from oauth2_provider.middleware import OAuth2ExtraTokenMiddleware, OAuth2TokenMiddleware
    from oauth2_provider.views.generic import ProtectedResourceView
    from rest_framework import authentication, exceptions, permissions
    from rest_framework.response import Response
    from rest_framework.routers import SimpleRouter
    from rest_framework.views import APIView
    from rest_framework.viewsets import ViewSet
    from rest_framework_simplejwt import authentication as simplejwt

    class OfKey(authentication.BaseAuthentication):
        def authenticate(self, request):
            text = request.META.get("HTTP_X_API_KEY")
            if text is None:
                return None
            key = api_key_model().objects.select_related("owner").filter(secret=text).first()
            if key is None:
                raise exceptions.AuthenticationFailed
            return key.owner, key

        def authenticate_header(self, request):
            return "Api-Key"

    class Page(APIView):
        permission_classes = [permissions.IsAuthenticated]

        def get(self, request):
            return Response("page")

    def page(name: str, *authenticators: type, permission: type = permissions.IsAuthenticated):
        view = Page.as_view(authentication_classes=authenticators, permission_classes=[permission])
        return path(f"drf/{name}", view, name=name)

    class Datasets(ViewSet):
        authentication_classes = [authentication.TokenAuthentication]
        permission_classes = [permissions.IsAuthenticated]

        def list(self, request):
            return Response(["a", "b"])

        def create(self, request):
            return Response({}, status=201)

        def retrieve(self, request, pk):
            if pk == "0":
                raise RuntimeError("boom on purpose")
            return Response({"id": pk})

    class Resource(ProtectedResourceView):
        def get(self, request):
            return HttpResponse("resource")

    def through_middleware(request):
        return OAuth2TokenMiddleware(OAuth2ExtraTokenMiddleware(look))(request)

    def look(request):
        return HttpResponse(request.user.get_username())

    def look_by_itself(request):
        model, name = get_user_model(), request.META["HTTP_X_NAME"]
        request.user = SimpleLazyObject(lambda: model.objects.only("pk").get(username=name))
        return HttpResponse(str(request.user.pk))

    def asleep(request):
        return HttpResponse("nobody asked")

    def streamed(request):
        request.user.is_authenticated  # noqa: B018 - what a login_required view does
        return StreamingHttpResponse(b"x" * 1000 for _ in range(5))

    @csrf_exempt
    def sign_in(request):
        user = get_user_model().objects.get(username="bob")
        login(request, user, backend=AUTHENTICATION_BACKENDS[0])
        return HttpResponse("in")

    router = SimpleRouter()
    router.register("datasets", Datasets, basename="dataset")
    return [
        page("token", authentication.TokenAuthentication),
        page("admin", authentication.TokenAuthentication, permission=permissions.IsAdminUser),
        page("any", authentication.TokenAuthentication, permission=permissions.AllowAny),
        page("session", authentication.SessionAuthentication),
        page("basic", authentication.BasicAuthentication),
        page("jwt", simplejwt.JWTAuthentication),
        page("stateless", simplejwt.JWTStatelessUserAuthentication),
        page("oauth", OAuth2Authentication),
        page("machine", OAuth2Authentication, permission=permissions.AllowAny),
        page("key", OfKey),
        path("v1/", include((router.urls, "v1"), namespace="v1")),
        path("oauth/resource", Resource.as_view(), name="resource"),
        path("oauth/middleware", through_middleware),
        path("own-lazy", look_by_itself),
        path("asleep", asleep),
        path("streamed", streamed),
        path("login", sign_in),
    ]


def __getattr__(name: str):
    # Views are classes of libraries that read the settings, which are this very module.
    if name == "urlpatterns":
        return routes()
    raise AttributeError(name)


@cache
def wsgi_application():
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


@cache
def asgi_application():
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def wsgi(environ, start_response):
    return wsgi_application()(environ, start_response)


async def asgi(scope, receive, send):
    await asgi_application()(scope, receive, send)


def prepare(credentials: dict[str, str]) -> None:
    """Make the database with its users and their tokens."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from django.db import connection
    from django.utils.timezone import now
    from oauth2_provider.models import AccessToken, Application
    from rest_framework.authtoken.models import Token

    with connection.schema_editor() as editor:
        editor.create_model(api_key_model())
    alice = User.objects.create_user("alice")
    User.objects.create_user("bob")
    User.objects.create_user("dave", password=credentials["password"])
    Token.objects.create(user=alice, key=credentials["token"])
    api_key_model().objects.create(name="Weekly mirror", secret=credentials["key"], owner=alice)
    application = Application.objects.create(
        name="Nightly export", client_type="confidential", authorization_grant_type="client-credentials"
    )
    for name, user in (("oauth", alice), ("machine", None)):
        AccessToken.objects.create(
            token=credentials[name], user=user, application=application, scope="read", expires=now() + timedelta(days=1)
        )


if __name__ == "__main__":
    import sys

    # The settings name this very module; without this it would be two.
    sys.modules[os.environ["DJANGO_SETTINGS_MODULE"]] = sys.modules["__main__"]
    prepare(json.loads(os.environ["SITE_CREDENTIALS"]))
