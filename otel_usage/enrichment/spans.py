"""A SERVER span that no processor of ours has described -> its attributes, with what follows from them.

Its own words stay; where instrumentations spell one fact differently, it is told in the newest spelling, so that one
request makes the same record whatever language served it.
"""

from collections.abc import Mapping
from typing import Any, Final

from otel_usage import attributes as key
from otel_usage.enrichment.describe import Description, describe
from otel_usage.enrichment.facts import RequestFacts
from otel_usage.enrichment.resources import Templates
from otel_usage.enrichment.span_attributes import facts_of, first, split_url, text

_USER_KEYS: Final = (*key.USER_ID_KEYS, key.USER_NAME)


def describe_span(
    attributes: Mapping[str, Any], span_name: str, token_key: bytes | None, templates: Templates | None = None
) -> Description:
    """Everything that a span says and that follows from it: what the record is made from.

    Args:
        attributes: Of the span.
        span_name: Its name.
        token_key: The deployment key; without it a token is known to exist but has no id.
        templates: Of `resources.path_secrets`.
    """
    facts = facts_of(attributes, span_name)
    found = describe(facts, token_key, templates=templates)
    told: dict[str, Any] = {**found.attributes, **attributes}
    if facts.user is not None:
        _tell_user(told, found.attributes)
    if key.RESOURCE_TYPE in attributes:
        _tell_one_resource(told, attributes)
    _tell_request(told, facts, found.attributes)
    if key.HTTP_PROTOCOL in attributes or key.URL_KEYS[-1] in attributes:
        _tell_of_url(told, attributes)
    found.attributes = told
    return found


def _tell_user(told: dict[str, Any], found: Mapping[str, str]) -> None:
    """The user as it may be kept: applications also name a user after the credential."""
    for name in _USER_KEYS:
        told.pop(name, None)
    if key.USER_SOURCE not in found:
        told.pop(key.USER_SOURCE, None)
    told.update((name, found[name]) for name in _USER_KEYS if name in found)


def _tell_one_resource(told: dict[str, Any], attributes: Mapping[str, Any]) -> None:
    """An application's own word of what was accessed, without the parent of what the route says."""
    for name in key.RESOURCE_KEYS:
        if name not in attributes:
            told.pop(name, None)


def _tell_request(told: dict[str, Any], facts: RequestFacts, found: Mapping[str, str]) -> None:
    told[key.PATH_KEY] = facts.path
    told[key.QUERY_KEY] = facts.query
    told[key.HTTP_ROUTE] = facts.route or found.get(key.HTTP_ROUTE) or ""
    status = facts.status
    if status is None:
        for name in key.STATUS_KEYS:
            told.pop(name, None)
        return
    told[key.HTTP_STATUS_CODE] = status
    if status >= 500:
        # As the semantic conventions have it; instrumentations of Node and Go leave it out.
        told.setdefault(key.ERROR_TYPE, str(status))


def _tell_of_url(told: dict[str, Any], attributes: Mapping[str, Any]) -> None:
    """What stands nowhere but in Envoy's URL and protocol ("HTTP/1.1")."""
    protocol = text(attributes.get(key.HTTP_PROTOCOL))
    if protocol is not None:
        told.setdefault(key.PROTOCOL_VERSION_KEYS[0], protocol.removeprefix("HTTP/"))
    parts = split_url(first(attributes, key.URL_KEYS))
    if parts is None or not parts.hostname:
        return
    if first(attributes, key.HOST_KEYS) is None:
        told[key.HOST_KEYS[0]] = parts.hostname
    if first(attributes, key.SCHEME_KEYS) is None:
        told[key.SCHEME_KEYS[0]] = parts.scheme
