"""From facts to usage attributes: the one place where token, user, resource and action come together.

Used by the processor inside a web server and by every other way in; the rules themselves are in `identity` and
`resources`.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from otel_usage import attributes as key
from otel_usage.enrichment import identity, resources
from otel_usage.enrichment.facts import ApplicationWord, RequestFacts
from otel_usage.enrichment.identity import Token, User
from otel_usage.enrichment.text import bounded

MAX_NAME_LENGTH: Final = 256


@dataclass(slots=True)
class Description:
    """What follows from the facts of a request.

    Attributes:
        attributes: Attribute keys to values; what is unknown is absent. Text, unless a span's own are among them.
        secrets: Every raw credential of the request: none of them may be found in anything that is kept.
    """

    attributes: dict[str, Any]
    secrets: tuple[str, ...] = field(repr=False)


def describe(
    facts: RequestFacts,
    token_key: bytes | None,
    word: ApplicationWord | None = None,
    templates: resources.Templates | None = None,
) -> Description:
    """Which token and which user accessed which resource, and how.

    Args:
        facts: Of one request.
        token_key: The deployment key; without it a token is known to exist but has no id.
        word: What the application said, or None.
        templates: Of `resources.path_secrets`.
    """
    credential, credentials = identity.find_credentials(facts)
    secrets = (*credentials, *resources.path_secrets(facts, templates))
    found: dict[str, Any] = {}
    if credential is not None:
        _add_token(found, identity.token_in(credential, token_key))
    user = identity.user_with(facts, credential, credentials)
    if user is not None:
        _add_user(found, user)
    _add_access(found, facts)
    if facts.token_name and (token_name := _name(facts.token_name, secrets)):
        found[key.TOKEN_NAME] = token_name
    if facts.operation:
        found[key.OPERATION] = bounded(facts.operation, MAX_NAME_LENGTH)
    if word is not None:
        _add_word(found, word)
    return Description(found, secrets)


def _name(text: str, secrets: tuple[str, ...]) -> str | None:
    """A name that a library gave; libraries also name a token after itself, and that is none."""
    return None if any(secret in text for secret in secrets) else bounded(text, MAX_NAME_LENGTH)


def _add_token(found: dict[str, Any], token: Token) -> None:
    if token.id is not None:
        found[key.TOKEN_ID] = token.id
    found[key.TOKEN_SCHEME] = token.scheme
    if token.hint is not None:
        found[key.TOKEN_HINT] = token.hint


def _add_user(found: dict[str, Any], user: User) -> None:
    if user.id is not None:
        found[key.USER_ID] = user.id
    if user.name is not None:
        found[key.USER_NAME] = user.name
    found[key.USER_SOURCE] = user.source


def _add_access(found: dict[str, Any], facts: RequestFacts) -> None:
    access = resources.classify(facts)
    if access.type is not None:
        found[key.RESOURCE_TYPE] = access.type
        found[key.RESOURCE_ID] = access.id
    if access.parent_type is not None:
        found[key.RESOURCE_PARENT_TYPE] = access.parent_type
        found[key.RESOURCE_PARENT_ID] = access.parent_id
    if access.action is not None:
        found[key.ACTION] = access.action
    if facts.route is None and access.route is not None:
        found[key.HTTP_ROUTE] = access.route


def _add_word(found: dict[str, Any], word: ApplicationWord) -> None:
    if word.user_id is not None:
        _put(found, key.USER_ID, word.user_id)
        _put(found, key.USER_NAME, word.user_name)
        found[key.USER_SOURCE] = "application"
    elif word.user_name is not None:
        found[key.USER_NAME] = word.user_name
        found.setdefault(key.USER_SOURCE, "application")
    if word.token_name is not None:
        found[key.TOKEN_NAME] = word.token_name
    if word.resource is not None:
        parent_type, parent_id = word.parent or (None, None)
        _put(found, key.RESOURCE_TYPE, word.resource[0])
        _put(found, key.RESOURCE_ID, word.resource[1])
        _put(found, key.RESOURCE_NAME, word.resource_name)
        _put(found, key.RESOURCE_PARENT_TYPE, parent_type)
        _put(found, key.RESOURCE_PARENT_ID, parent_id)
    if word.action is not None:
        found[key.ACTION] = word.action


def _put(found: dict[str, Any], name: str, value: str | None) -> None:
    """Nothing derived stays where the application has spoken."""
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value
