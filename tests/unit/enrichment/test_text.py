"""Bounds and plurals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_usage.enrichment.text import bounded, is_plural, singular


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("datasets", "dataset"),
        ("categories", "category"),
        ("addresses", "address"),
        ("boxes", "box"),
        ("batches", "batch"),
        ("wishes", "wish"),
        ("people", "person"),
        ("children", "child"),
        ("statuses", "status"),
        ("analyses", "analysis"),
        ("indices", "index"),
        ("caches", "cache"),
        ("order_statuses", "order_status"),
        ("sub_categories", "sub_category"),
    ],
)
def test_a_plural_has_a_singular(word: str, expected: str) -> None:
    """A plural is recognised, and becomes its singular in the last of several words."""
    assert singular(word) == expected
    assert is_plural(word)


@pytest.mark.parametrize(
    "word", ["data", "series", "news", "media", "status", "analysis", "address", "campus", "gas", "is", "s", "", "_"]
)
def test_no_plural_stays(word: str) -> None:
    """What is no plural, or looks the same in both numbers, does not change."""
    assert singular(word) == word
    assert not is_plural(word)


@given(st.text(st.characters(exclude_categories=[])), st.integers(0, 50))
def test_bounded_text_can_be_encoded(text: str, limit: int) -> None:
    """Whatever comes in, what goes out is UTF-8 and not longer than the limit."""
    assert len(bounded(text, limit).encode("utf-8").decode("utf-8")) <= limit


def test_bounded_replaces_only_surrogates() -> None:
    """A lone surrogate becomes a question mark, other text stays."""
    assert bounded("é\ud800ß", 10) == "é?ß"
