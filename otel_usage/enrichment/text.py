"""Small rules about text that several enrichment modules share: bounds, header encodings and English plurals.

What a text means (a credential, a route, a name) is known elsewhere.
"""

from functools import lru_cache
from typing import Final

_IRREGULAR: Final = {
    "aliases": "alias",
    "analyses": "analysis",
    "buses": "bus",
    "caches": "cache",
    "children": "child",
    "criteria": "criterion",
    "indices": "index",
    "matrices": "matrix",
    "people": "person",
    "statuses": "status",
    "vertices": "vertex",
}
# They end like plurals and are none, or are their own plural.
_INVARIABLE: Final = frozenset({"aws", "canvas", "gas", "lens", "media", "news", "series", "species"})
_IES_KEEPS_E: Final = frozenset({"cookies", "movies", "ties", "pies"})
_ES_ENDINGS: Final = ("sses", "xes", "ches", "shes")
_SINGULAR_ENDINGS: Final = ("ss", "us", "is")


def bounded(text: str, limit: int) -> str:
    """The first `limit` characters of a text, with `?` for what UTF-8 cannot encode.

    A lone surrogate in one span attribute makes OTLP exporters lose the whole batch.
    """
    text = text[:limit]
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def as_sent(text: str) -> str:
    """A header's text as its sender meant it: servers decode UTF-8 as Latin-1 (PEP 3333).

    What is no UTF-8 on the wire stays as it is. ASCII, which nearly every credential is, is never changed.
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


@lru_cache(maxsize=2048)
def singular(word: str) -> str:
    """The singular of a lower-case English noun; of several words joined by "_" only the last changes."""
    head, separator, last = word.rpartition("_")
    return f"{head}{separator}{_singular(last)}"


def is_plural(word: str) -> bool:
    """Whether a lower-case word names several things; "news" and "series" do not say so."""
    return singular(word) != word


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 3 or word in _INVARIABLE or not word.endswith("s") or word.endswith(_SINGULAR_ENDINGS):
        return word
    if word.endswith("ies") and word not in _IES_KEEPS_E:
        return f"{word[:-3]}y"
    if word.endswith(_ES_ENDINGS):
        return word[:-2]
    return word[:-1]
