"""No raw credential is kept, wherever in a record it stands and however it is spelled."""

import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_usage.exporter import scrubbing
from otel_usage.exporter.encoding import encode_line
from otel_usage.exporter.recorder import Recorder
from otel_usage.exporter.scrubbing import holds, scrub
from tests.unit.exporter.support import query, record, settings_of

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40)


def line_of(kept):
    """The record as the journal has it."""
    line = encode_line(kept, lambda reason, n=1: None)
    assert line is not None
    return line


def in_lower_case(text: str) -> str:
    """Percent-encoded with small letters, as some clients do."""
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe=""))


def in_javascript(text: str) -> str:
    """As `encodeURIComponent` does."""
    return quote(text, safe="!'()*")


def in_java(text: str) -> str:
    """As `URLEncoder` does."""
    return quote_plus(text, safe="*").replace("~", "%7E")


SPELLINGS = [str, quote, quote_plus, lambda text: quote(text, safe=""), in_lower_case, in_javascript, in_java]


@given(SECRETS, st.sampled_from(SPELLINGS), st.booleans())
@example("abc/def+ghi=jkl mno", quote, True)
@example("abc/def+ghi=jkl mno", quote_plus, False)
@example("p@ss!word", in_javascript, False)
@example("a8Q~tokenOfAzure", in_java, False)
@example('quo"te\\ p@ss', in_lower_case, True)
def test_any_secret_is_found_and_removed(secret, spell, in_attributes):
    """Whatever characters a credential has, it is found in the line, plain or percent-encoded, and then gone."""
    told = f"before {spell(secret)} after"
    kept = record(1, attributes={"app.value": told}) if in_attributes else record(1, path=told)
    assert holds(line_of(kept), (secret,))
    scrub(kept, (secret,))
    assert spell(secret) not in (kept.path or "") + str((kept.attributes or {}).values())
    assert "before" in line_of(kept).decode()
    assert "after" in line_of(kept).decode()
    assert (kept.trace_id, kept.duration_ns) == (record(1).trace_id, record(1).duration_ns)


@pytest.mark.parametrize("text", ["a" * 9999, "%" * 9999, "+" * 9999, "a%2Bb" * 2000 + "pass%20word+1" * 99])
def test_a_long_text_is_read_as_a_whole(text, monkeypatch):
    """What a client writes into a long line does not keep the request: nothing is done a character at a time."""
    steps = []
    byte = scrubbing._byte
    monkeypatch.setattr(scrubbing, "_byte", lambda found: steps.append(1) or byte(found))
    kept = record(1, path=text)
    scrub(kept, ("pass word+1", "pass word 1", "something/else"))
    assert len(steps) <= 10 * text.count("%2")
    assert "pass" not in kept.path


def test_what_is_no_text_stays():
    """Half of a surrogate pair beside a credential is the encoder's to replace."""
    kept = record(1, path="\ud800 pass%2Fword/1 \udfff")
    scrub(kept, ("pass/word/1",))
    assert kept.path == "\ud800 REDACTED \udfff"


@pytest.mark.parametrize("secret", ["", "1", "1234567"])
def test_short_texts_are_left_alone(secret):
    """A short secret occurs by chance: replacing it would spoil what is kept."""
    assert not holds(line_of(record(1, path="/datasets/1234567")), (secret,))


def test_other_texts_stay(tmp_path):
    """Only the credential is replaced, on the whole way into the store."""
    recorder = Recorder(settings_of(tmp_path))
    recorder.write(record(1, path="/reset/abcdefgh/now", user_name="Grace"), ("abcdefgh",))
    recorder.shutdown()
    assert query(tmp_path, "SELECT path, user_name FROM requests") == [("/reset/REDACTED/now", "Grace")]


def test_no_part_of_a_secret_is_left_where_a_value_is_cut(tmp_path):
    """A credential across the bound of a value is removed before the value is cut."""
    recorder = Recorder(settings_of(tmp_path))
    recorder.write(record(1, path="x" * (8 * 1024 - 10) + "secret-secret-secret"), ("secret-secret-secret",))
    recorder.shutdown()
    (path,) = query(tmp_path, "SELECT path FROM requests")[0]
    assert "secret" not in path
