"""From facts to usage attributes: the one place where token, user, resource and action come together.

Used by the processor inside a web server and by every other way in; the rules themselves are in `identity` and
`resources`.
"""

from dataclasses import dataclass, field
from typing import Final

from otel_usage import attributes as key
from otel_usage.enrichment import identity, resources
from otel_usage.enrichment.credentials import every_credential
from otel_usage.enrichment.facts import ApplicationWord, RequestFacts
from otel_usage.enrichment.identity import Token, User
from otel_usage.enrichment.text import bounded

MAX_NAME_LENGTH: Final = 256


@dataclass(slots=True)
class Description:
    """What follows from the facts of a request.

    Attributes:
        attributes: Attribute keys to values; what is unknown is absent.
        secrets: Every raw credential of the request: none of them may be found in anything that is kept.
    """

    attributes: dict[str, str]
    secrets: tuple[str, ...] = field(repr=False)


def describe(facts: RequestFacts, token_key: bytes | None, word: ApplicationWord | None = None) -> Description:
    """Which token and which user accessed which resource, and how.

    Args:
        facts: Of one request.
        token_key: The deployment key; without it a token is known to exist but has no id.
        word: What the application said, or None.
    """
    credential = identity.find_credential(facts)
    found: dict[str, str | None] = {}
    _add_token(found, identity.token_in(credential, token_key))
    credentials = every_credential(facts, credential)
    _add_user(found, identity.user_with(facts, credential, credentials))
    _add_access(found, facts)
    secrets = (*credentials, *resources.path_secrets(facts))
    found[key.TOKEN_NAME] = _name(facts.token_name, secrets)
    found[key.OPERATION] = _name(facts.operation, ())
    if word is not None:
        _add_word(found, word)
    return Description({name: value for name, value in found.items() if value is not None}, secrets)


def _name(text: str | None, secrets: tuple[str, ...]) -> str | None:
    """A name that a library gave; libraries also name a token after itself, and that is none."""
    if not text or any(secret in text for secret in secrets):
        return None
    return bounded(text, MAX_NAME_LENGTH)


def _add_token(found: dict[str, str | None], token: Token | None) -> None:
    if token is not None:
        found[key.TOKEN_ID] = token.id
        found[key.TOKEN_SCHEME] = token.scheme
        found[key.TOKEN_HINT] = token.hint


def _add_user(found: dict[str, str | None], user: User | None) -> None:
    if user is not None:
        found[key.USER_ID] = user.id
        found[key.USER_NAME] = user.name
        found[key.USER_SOURCE] = user.source


def _add_access(found: dict[str, str | None], facts: RequestFacts) -> None:
    access = resources.classify(facts)
    found[key.RESOURCE_TYPE] = access.type
    found[key.RESOURCE_ID] = access.id
    found[key.RESOURCE_PARENT_TYPE] = access.parent_type
    found[key.RESOURCE_PARENT_ID] = access.parent_id
    found[key.ACTION] = access.action
    if facts.route is None and access.route is not None:
        found[key.HTTP_ROUTE] = access.route


def _add_word(found: dict[str, str | None], word: ApplicationWord) -> None:
    if word.user_id is not None:
        found[key.USER_ID] = word.user_id
        found[key.USER_NAME] = word.user_name
        found[key.USER_SOURCE] = "application"
    elif word.user_name is not None:
        found[key.USER_NAME] = word.user_name
        found.setdefault(key.USER_SOURCE, "application")
    if word.token_name is not None:
        found[key.TOKEN_NAME] = word.token_name
    if word.resource is not None:
        found[key.RESOURCE_TYPE], found[key.RESOURCE_ID] = word.resource
        found[key.RESOURCE_NAME] = word.resource_name
        found[key.RESOURCE_PARENT_TYPE], found[key.RESOURCE_PARENT_ID] = word.parent or (None, None)
    if word.action is not None:
        found[key.ACTION] = word.action
