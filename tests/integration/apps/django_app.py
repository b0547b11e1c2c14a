"""A small Django site with Django REST framework, as the integration tests drive it; settings and all in one file."""

import asyncio
import os
from functools import cache
from pathlib import Path

from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from otel_usage import identify, record_access

HERE = Path(os.environ["SITE_DIRECTORY"])
SECRET_KEY = "only for tests, signs nothing of value"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "x"]
ROOT_URLCONF = __name__
USE_TZ = True
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["console"]}},
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework.authtoken",
]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "site.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.BearerTokenAuthentication"]}


def __getattr__(name: str):
    # REST framework reads settings when it is imported, so its classes are made when they are asked for.
    if name == "BearerTokenAuthentication":
        from rest_framework.authentication import TokenAuthentication

        return type("BearerTokenAuthentication", (TokenAuthentication,), {"keyword": "Bearer"})
    raise AttributeError(name)


def dataset(request, org: str, dataset_id: int):
    from rest_framework.decorators import api_view
    from rest_framework.response import Response

    @api_view(["GET"])
    def view(request):
        request.user  # noqa: B018 - what a permission class does
        if dataset_id == 404:
            raise Http404
        return Response({"org": org, "id": dataset_id})

    return view(request)


@csrf_exempt
def datasets(request):
    if request.method == "POST":
        return JsonResponse({"bytes": len(request.body)}, status=201)
    request.user.is_authenticated  # noqa: B018 - what a login_required view does
    return JsonResponse(["a", "b"], safe=False)


def download(request, dataset_id: str):
    count = int(request.GET.get("chunks", 5))
    if getattr(request, "scope", None):

        async def body():
            for _ in range(count):
                await asyncio.sleep(0)
                yield b"x" * 1000
    else:

        def body():
            for _ in range(count):
                yield b"x" * 1000

    return StreamingHttpResponse(body(), headers={"Content-Disposition": "attachment; filename=a.csv"})


def cached(request, file_id: int):
    if request.headers.get("If-None-Match") == '"1"':
        return HttpResponse(status=304, headers={"ETag": '"1"'})
    return HttpResponse("content", headers={"ETag": '"1"'})


def private(request, item_id: int):
    return HttpResponse(status=401)


async def claims(request, claim_id: int):
    return JsonResponse({"id": claim_id})


def boom(request):
    raise RuntimeError("boom on purpose")


def said(request):
    identify(user_id="u-7", user_name="Grace", token_name="nightly export")
    record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
    record_access("report", "r-2")
    return HttpResponse("said")


def reset(request, token: str):
    return HttpResponse("new password?")


@csrf_exempt
def sign_in(request):
    from django.contrib.auth import login
    from django.contrib.auth.models import User

    login(request, User.objects.get(username="bob"))
    return HttpResponse("in")


urlpatterns = [
    path(
        "organizations/",
        include(([path("<str:org>/datasets/<int:dataset_id>", dataset, name="dataset")], "organizations")),
    ),
    path("datasets", datasets, name="datasets"),
    path("datasets/<str:dataset_id>/download", download),
    path("files/<int:file_id>", cached),
    path("private/<int:item_id>", private, name="private"),
    path("claims/<int:claim_id>", claims),
    path("boom", boom),
    path("said", said),
    path("login", sign_in),
    path("reset/<str:token>/", reset),
]


@cache
def wsgi_application():
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


@cache
def asgi_application():
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


# Django's settings are this module, so its applications can be made only when they are first called.
def wsgi(environ, start_response):
    return wsgi_application()(environ, start_response)


async def asgi(scope, receive, send):
    await asgi_application()(scope, receive, send)


def prepare(token: str) -> None:
    """Make the database with its users and alice's token."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from rest_framework.authtoken.models import Token

    User.objects.create_user("bob")
    Token.objects.create(user=User.objects.create_user("alice"), key=token)


if __name__ == "__main__":
    import sys

    # The settings name this very module; without this it would be two.
    sys.modules[os.environ["DJANGO_SETTINGS_MODULE"]] = sys.modules["__main__"]
    prepare(os.environ["SITE_TOKEN"])
