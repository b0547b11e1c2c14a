"""The application in Django, with the middlewares that most projects have and a bearer token's of its own."""

import os
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from benchmarks.requests import applications, traffic, ways

_HERE = __name__
_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    f"{_HERE}.bearer",
]
_PEERS = {
    ways.EMPTY: f"{_HERE}.empty",
    ways.API_ANALYTICS: "api_analytics.django.Analytics",
    ways.DRF_TRACKER: "drf_user_activity_tracker_mongodb.middleware.activity_tracker_middleware."
    "ActivityTrackerMiddleware",
}
_way = ""


def empty(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that does nothing."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


def bearer(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Lets in who has a token, as a user that no database is asked for."""
    from django.contrib.auth.models import User

    people = {token: User(id=user.id, username=user.username) for token, user in traffic.users().items()}

    def middleware(request: HttpRequest) -> HttpResponse:
        user = people.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if user is None and request.path != "/settle":
            return JsonResponse({"detail": "A token is needed."}, status=401)
        request.user = user
        return get_response(request)

    return middleware


def dataset(request: HttpRequest, organization: str, dataset_id: int) -> HttpResponse:
    return JsonResponse(traffic.answer(organization, dataset_id))


def settle(request: HttpRequest) -> HttpResponse:
    return JsonResponse(applications.settle(_way))


urlpatterns = [
    path("organizations/<str:organization>/datasets/<int:dataset_id>", dataset, name="dataset"),
    path("settle", settle, name="settle"),
]


def make(way: str) -> Any:
    global _way
    _way = way
    settings.configure(
        SECRET_KEY=traffic.SIGNING_KEY,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=_HERE,
        INSTALLED_APPS=_APPS,
        MIDDLEWARE=[*filter(None, [_PEERS.get(way)]), *_MIDDLEWARE],
        USE_TZ=True,
        **_settings_of(way),
    )
    _record(way)
    return get_wsgi_application()


def _settings_of(way: str) -> dict[str, Any]:
    if way == ways.DRF_TRACKER:
        return {
            "DRF_ACTIVITY_TRACKER_DATABASE": True,
            "DRF_ACTIVITY_TRACKER_MONGO_CONNECTION": os.environ["BENCHMARK_MONGODB"],
            "DRF_ACTIVITY_TRACKER_MONGO_DB_NAME": "benchmark",
            "DRF_ACTIVITY_TRACKER_MONGO_DB_COLLECTION_NAME": "activity",
        }
    return {}


def _record(way: str) -> None:
    if way in ways.INSTRUMENTED:
        from opentelemetry.instrumentation.django import DjangoInstrumentor

        DjangoInstrumentor().instrument()
    elif way == ways.API_ANALYTICS:
        # Its module of Django needs settings to be imported.
        from api_analytics.django import Config

        settings.ANALYTICS_API_KEY = "key"
        settings.ANALYTICS_CONFIG = Config(server_url=ways.sink())
    elif way == ways.APITALLY:
        import apitally

        # Views of plain Django are left out unless they are asked for.
        apitally.init(write_token=ways.APITALLY_TOKEN, django_include_class_based_views=True)
