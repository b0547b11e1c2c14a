"""The agent makes of every credential what a Python application makes of it, and lets none of them leave."""

import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_usage import attributes as key
from otel_usage.enrichment.credentials import CREDENTIAL_HEADERS
from otel_usage.enrichment.privacy import fingerprint
from tests.collector.collectors import TOKEN_KEY, agent, sink, span_of
from tests.collector.credentials import MARK, Request, basic, jwt, on_the_wire, written_jwt
from tests.collector.passage import Passage, check_raw


@pytest.fixture(scope="module")
def passage(collector_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """One agent for all of these tests; at their end nothing raw is in its queue and its log."""
    with sink() as out, agent(collector_binary, tmp_path_factory.mktemp("agent"), out.endpoint) as collector:
        yield Passage(collector, out)
        check_raw(collector.queue(), collector.log.encode())


TOKENS = (
    f"{MARK}",
    f"ghp_{MARK}0123456789abcdefghijklmnopqrstuvwxyz",
    f"glpat-{MARK}0123456789abcdefgh",
    f"sk_live_{MARK}0123456789",
    f"{MARK}-4f89-11d3-9a0c-0305e82c3301",
    f"a/{MARK}+c==",
    f"x.{MARK}_z~1-2",
    f"{MARK}\x7f0123456789abcdefghijk",
)
TEMPLATES = (
    *("Bearer {}", "bearer   {}  ", "BEARER {}", " Bearer\t{}", 'Bearer "{}"', "Bearer {},x", "Token {}"),
    *('Token token="{}", email="x"', "Token token={}", 'token TOKEN="{}"', "ApiKey {}", "Api-Key {}", "apikey {},x"),
    *("{}", '"{}"', " {} ", '"{}'),
)
NO_TOKENS = (
    *(
        "Bearer",
        "Bearer ",
        "Bearer ,",
        'Token token=""',
        "Token",
        "token=",
        "Token token=",
        "null",
        "undefined",
        "NONE",
    ),
    *("Bearer undefined", "Token None", "Token token=null", "a b", "", "  ", '""', "a,b"),
    *(f"Digest username={MARK}, realm=y", f"Negotiate {MARK}", f"NTLM {MARK}", f"AWS4-HMAC-SHA256 Credential={MARK}"),
    *("AWS4-HMAC-SHA256", "SCRAM-SHA-256", f"Signature keyId={MARK}", "Digest", "basic", "Basic", "Basic !", "Basic A"),
)
NAMES = (f"{MARK}", f"{MARK}:", "user:p", f"alice:{MARK}", f"alice:p:{MARK}", f":{MARK}", ":", "", f"??>{MARK}:")
STAND_INS = (f"{MARK}:x-oauth-basic", f"{MARK}:api_token", ":api_token", "user:x-oauth-basic2", "user:API_TOKEN")
JWTS = (
    jwt(exp=1, iss="https://i", sub="alice", client_id="portal", preferred_username="Alice A."),
    jwt(exp=1, iss="https://i", azp="portal", client_id="x", cid="y"),
    jwt(exp=1, iss="https://i", azp="", client_id="", cid="okta"),
    jwt(exp=1, sub="alice"),
    jwt(exp=1, iss="https://i"),
    jwt(exp=None, iss="https://i", sub="alice", jti="j"),
    jwt(exp=0, sub="alice"),
    jwt(exp="", sub="alice"),
    jwt(exp=False, sub="alice"),
    jwt(exp={}, sub="alice", aud=["a", "b"], realm_access={"roles": ["r"], "sub": "nobody"}),
    jwt(iss="i", jti="j", sub="alice"),
    jwt(jti="j", sub=""),
    jwt(iss="i", sub="alice"),
    jwt(iss="i", sub="alice", jti=""),
    jwt(),
    jwt(exp=1, sub=5, azp=7, iss=8, preferred_username=9),
    jwt(exp=1, sub=-12345678901234567890123, cid=9007199254740993),
    jwt(jti=0),
    jwt(exp=1, sub=1.0, azp=1e300, client_id="c"),
    jwt(exp=1, sub=True, azp=["a"], client_id={"a": 1}, cid=None, iss=1.5),
    jwt(exp=1, sub="jörg 漢字 😀", iss='i\n\t"\\/', client_id="a,b}:1"),
    jwt(exp=1, sub="a" * 300),
    jwt(exp=1, sub="x" * 9000),
    jwt(exp=1, sub="x" * 13000),
    jwt(header=[], exp=1, sub="alice"),
    jwt(header="x", exp=1, sub="alice"),
    written_jwt("[1]"),
    written_jwt("{"),
    written_jwt("{}x"),
    written_jwt(""),
    written_jwt("{}", ""),
    written_jwt(' { "exp" : 1 , "sub" : 5 } '),
    written_jwt('{"exp":1,"sub":"a","sub":"b"}'),
    written_jwt('{"exp":1,"sub":"a"}', signature=""),
    written_jwt('{"exp":1,"sub":"a"}', signature=f"{MARK}.x"),
    written_jwt('{"exp":1,"sub":"ab"}').replace(".", "=."),
    written_jwt('{"exp":1,"sub":"ab"}').replace(".", "==."),
    f"e30.A.{MARK}sig",
    f"abc.def.{MARK}",
    f"..{MARK}",
    written_jwt('{"exp":1,"sub":"\ufffd"}'),
    f"e30.eyJleHAiOjEsInN1YiI6Iv8ifQ.{MARK}sig",  # not UTF-8
)
NON_ASCII = (
    f"t\xf6{MARK}",
    f"{MARK}\xe9\xe8",
    on_the_wire(f"tö{MARK}漢字😀"),
    on_the_wire(f"{MARK}ß€"),
    f"€{MARK}",
    f"漢{MARK}\xf6",
)
QUERIES = (
    *("api_key={}", "apikey={}", "token={}", "access_token={}", "API_KEY={}", "Access_Token={}", "x=1;token={}"),
    *("a=1?token={}", "token=&api_key={}", "a=1&token={}&b=2", "token={}&api_key=other", "api_key=REDACTED&token={}"),
)
NO_QUERIES = ("token=REDACTED", "token=", "mytoken=a", "page_token=a", "token", "token=null", "a=token=1", "t%6Fken=x")
VALUES = (
    *TOKENS[:6],
    *(quote(each, safe="") for each in TOKENS),
    f"{MARK}%",
    f"%{MARK}",
    f"%zz{MARK}%2",
    f"a+b{MARK}",
    quote(f"tö{MARK}漢"),
    f"{MARK}%00%0a%20%3F%23%26",
    f"{MARK}?x/y%25",
    f"{MARK} x",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_authorization(passage: Passage, template: str) -> None:
    """Every spelling of Authorization gives the same token."""
    passage.check(*(Request({"authorization": template.format(token)}) for token in TOKENS))


def test_no_tokens(passage: Passage) -> None:
    """What is no token is none; a key header beside it is, unless the first was a careless client's."""
    passage.check(*(Request({"authorization": each}) for each in NO_TOKENS))
    passage.check(*(Request({"authorization": each, "x-api-key": f"{MARK}1"}, "token=x") for each in NO_TOKENS))


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_basic(passage: Passage, status: int) -> None:
    """A user name without a password is a token; with one it is a user, unless the answer was 401 or 403."""
    values = [basic(name) for name in (*NAMES, *STAND_INS)]
    values += [each.replace("=", "") for each in values] + [each.replace("Basic", "  bASIC \t") for each in values]
    values += [basic("jörg:p"), basic("jörg:p", "latin-1"), basic(f"ö{MARK}", "latin-1"), basic(f"ö{MARK}:")]
    values += [f"Basic {each}" for each in ("YWI_YWI_", "YWI-YWI-", "AAAAA", "YWxpY2U6cHc=x", "//79Og==")]
    passage.check(*(Request({"authorization": each}, status=status) for each in values))


@pytest.mark.parametrize("status", [200, 401])
def test_web_tokens(passage: Passage, status: int) -> None:
    """A JSON Web Token is known by what stays the same when it is renewed, and names a user."""
    passage.check(*(Request({"authorization": f"Bearer {each}"}, status=status) for each in JWTS))
    passage.check(*(Request({"x-api-key": each}, status=status) for each in JWTS))
    passage.check(*(Request({}, f"access_token={each}", status=status) for each in JWTS))
    passage.check(*(Request({"authorization": basic(f"{each}:")}, status=status) for each in JWTS))


def test_renewed_web_tokens(passage: Passage) -> None:
    """Another time of expiry and another signature are the same token; another subject is not."""
    tokens = [jwt(exp=1, sub="a"), jwt(exp=2, sub="a", signature=f"{MARK}other"), jwt(exp=1, sub="b")]
    left = passage.through([span_of({"http.request.header.authorization": f"Bearer {each}"}) for each in tokens])
    first, second, third = (span["attributes"][key.TOKEN_ID] for span in left)
    assert first == second != third


@pytest.mark.parametrize("name", CREDENTIAL_HEADERS[1:])
def test_key_headers(passage: Passage, name: str) -> None:
    """Each header for keys is a token, without the white space around it."""
    values = (*TOKENS, *NON_ASCII, f"  {MARK}\t", " ", "", f"a {MARK} b", "null", f"Bearer {MARK}")
    passage.check(*(Request({name: each}) for each in values))
    passage.check(*(Request({name: each, "authorization": basic("alice:pw")}, f"token={MARK}") for each in values))


def test_key_headers_in_their_order(passage: Passage) -> None:
    """Of several credentials the first is the token."""
    for first in range(len(CREDENTIAL_HEADERS)):
        headers = {name: f"{MARK}-{name}" for name in CREDENTIAL_HEADERS[first:]}
        passage.check(Request(headers, f"token={MARK}"), Request({**headers, CREDENTIAL_HEADERS[first]: " "}))


def test_not_ascii(passage: Passage) -> None:
    """A header in UTF-8 that a server reads as Latin-1 is the token that was sent; what is no UTF-8 stays as it is."""
    passage.check(*(Request({"authorization": t.format(each)}) for each in NON_ASCII for t in ("Bearer {}", "{}")))


@pytest.mark.parametrize("template", QUERIES)
def test_query(passage: Passage, template: str) -> None:
    """The four parameters carry a token, percent-decoded."""
    passage.check(*(Request({}, template.format(value)) for value in VALUES))


def test_no_query(passage: Passage) -> None:
    """Parameters that only look like these carry none, and the first of two counts."""
    passage.check(*(Request({}, query) for query in NO_QUERIES))
    passage.check(*(Request({"authorization": "Basic !"}, f"x=1&{query}&token={MARK}") for query in NO_QUERIES))


def test_a_credential_is_no_user(passage: Passage) -> None:
    """Whoever is named as one of the request's credentials is not named."""
    alice, token = basic("alice:pw"), jwt(exp=1, sub="alice", preferred_username="bob")
    passage.check(
        Request({"authorization": alice, "x-api-key": "alice"}),
        Request({"authorization": alice, "api-key": "alice"}, "token=x"),
        Request({"authorization": alice}, "token=alice"),
        Request({"authorization": f"Bearer {token}", "x-auth-token": "alice"}),
        Request({"authorization": f"Bearer {token}", "x-auth-token": "bob"}),
    )


@pytest.mark.parametrize("name", [key.USER_ID, key.USER_NAME, key.ENDUSER_ID])
def test_the_users_name_is_a_token(passage: Passage, name: str) -> None:
    """Servers name the user after a token that came as Basic's user name: it does not leave; another name does."""
    token = f"{MARK}0123456789"
    for value in (basic(f"{token}:"), f"Bearer {token}"):
        [span] = passage.through([span_of({"http.request.header.authorization": [value], name: token})])
        assert name not in span["attributes"]
        assert key.USER_SOURCE not in span["attributes"]
    [span] = passage.through([span_of({"http.request.header.authorization": basic("bob:pw"), name: "alice"})])
    assert span["attributes"][name] == "alice"
    assert not {key.USER_ID, key.USER_NAME, key.ENDUSER_ID, key.USER_SOURCE} - {name} & span["attributes"].keys()


def test_bytes_that_latin1_has_white_space_for(passage: Passage) -> None:
    """UTF-8 has bytes that Latin-1 takes for white space: they belong to the token."""
    tokens = [on_the_wire(f"{MARK}{each}") for each in ("à", "Å", "àb", "Åb")]
    passage.check(*(Request({"authorization": each}) for each in tokens))
    passage.check(*(Request({name: each}) for each in tokens for name in CREDENTIAL_HEADERS[1:]))


def test_parameters_that_are_no_utf8(passage: Passage) -> None:
    """A parameter is UTF-8, else Latin-1, as headers are; percent-encoded or not."""
    values = ("%80%FF", "%C3%B6%FF", "%E9", on_the_wire("ö"), "\xe9")
    passage.check(*(Request({}, f"token={MARK}{each}") for each in values))


def test_web_tokens_have_their_own_alphabet(passage: Passage) -> None:
    """What has other characters than base64url's is no JSON Web Token (RFC 7515)."""
    token = written_jwt('{"exp":1,"sub":"ab"}')
    passage.check(*(Request({"x-api-key": token.replace(".", f"{each}.")}) for each in "!*: ~"))


def test_the_credential_elsewhere(passage: Passage) -> None:
    """A credential that also stands in the path, or that the application took for something else, does not leave."""
    token = f"{MARK}+(0123456789)[a]"
    header = {"http.request.header.authorization": f"Bearer {token}"}
    attributes = {"url.path": f"/a/{token}/b", "user_agent.original": token, "usage.resource.id": token}
    [span] = passage.through([span_of({**header, **attributes}, name=f"GET /a/{token}/b")])
    assert span["attributes"]["url.path"] == "/a/REDACTED/b"
    assert span["attributes"]["usage.resource.id"] == "REDACTED"
    assert span["attributes"][key.TOKEN_ID] == fingerprint(TOKEN_KEY.encode(), token)
    check_raw(passage.raw)


TOKEN, OTHER = f"{MARK}-0123456789", f"{MARK}-other-9876"
AUTHORIZATION = "http.request.header.authorization"
CAPTURED = {
    "bearer": ({AUTHORIZATION: [f"Bearer {OTHER}"]}, OTHER),
    "key": ({"http.request.header.x_api_key": OTHER}, OTHER),
    "key beside a token": ({AUTHORIZATION: f"Bearer {TOKEN}", "http.request.header.x-api-key": [OTHER]}, OTHER),
    "last of the keys": ({"http.request.header.api-key": TOKEN, "http.request.header.x-ckan-api-key": OTHER}, OTHER),
    "parameter beside a token": ({AUTHORIZATION: f"Bearer {TOKEN}", "url.query": f"token={OTHER}"}, OTHER),
    "password": ({AUTHORIZATION: basic(f"alice:{OTHER}")}, OTHER),
    "password without a user": ({AUTHORIZATION: basic(f":{OTHER}")}, OTHER),
    "basic as it was sent": ({AUTHORIZATION: basic(f"alice:{OTHER}")}, basic(f"alice:{OTHER}").split()[1].rstrip("=")),
    "second of a list": ({AUTHORIZATION: [f"Bearer {TOKEN}", f"Bearer {OTHER}"]}, OTHER),
    "second, Basic": ({AUTHORIZATION: [f"Bearer {TOKEN}", basic(f"alice:{OTHER}")]}, OTHER),
    "third key": ({"http.request.header.x-api-key": [TOKEN, "x", OTHER]}, OTHER),
    "after a comma": ({AUTHORIZATION: f"Bearer {TOKEN}, Bearer {OTHER}"}, OTHER),
    "keys after a comma": ({"http.request.header.x-api-key": f"{TOKEN}, {OTHER}"}, OTHER),
    "longer than another": (
        {AUTHORIZATION: f"Bearer {TOKEN}", "http.request.header.x-api-key": TOKEN + OTHER},
        TOKEN + OTHER,
    ),
    "long": ({AUTHORIZATION: f"Bearer {OTHER * 500}"}, OTHER * 500),
    "backslash": ({AUTHORIZATION: f"Bearer a\\E{OTHER}\\"}, f"a\\E{OTHER}\\"),
    "not ASCII": ({AUTHORIZATION: f"Bearer {on_the_wire('ö')}{OTHER}"}, f"ö{OTHER}"),
}


@pytest.mark.parametrize("described", [{}, {key.SAMPLED: True}, {key.TOKEN_ID: "tok_0123456789abcdef"}], ids=range(3))
@pytest.mark.parametrize("captured", CAPTURED)
def test_every_credential_elsewhere(passage: Passage, captured: str, described: dict[str, Any]) -> None:
    """Each credential of a request is removed wherever else it stands, whether or not the application knew of it."""
    headers, secret = CAPTURED[captured]
    elsewhere = {"url.path": f"/a/{secret}/b", key.USER_ID: secret, "http.route": f"/{secret}"}
    spans = [span_of({**headers, **elsewhere, **described}, kind=kind, name=f"GET /{secret}") for kind in (1, 2, 3)]
    left = passage.through(spans)
    check_raw(passage.raw)
    assert {span["attributes"]["url.path"] for span in left} <= {"/a/REDACTED/b", "/a/REDACTED"}
    ids = [span["attributes"].get(key.TOKEN_ID) for span in left]
    if described:
        assert ids == [described.get(key.TOKEN_ID)] * 3
        assert not [span for span in left if key.TOKEN_SCHEME in span["attributes"]]
    else:
        assert ids[0] is ids[2] is None


SPECIAL = f"{MARK}~/of+Alice=@{{1}}!"
LOWER_CASE = re.compile("%..")
SPELLINGS = {
    "percent-encoded": lambda text: quote(text, safe=""),
    "but for the slash": quote,
    "with small letters": lambda text: LOWER_CASE.sub(lambda found: found[0].lower(), quote(text, safe="")),
    "as JavaScript does": lambda text: quote(text, safe="!'()*"),
    "as Java does": lambda text: quote(text, safe="*").replace("~", "%7E"),
    "in capitals": str.upper,
    "in small letters": str.lower,
    "in small letters, encoded": lambda text: quote(text.lower(), safe=""),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {SPECIAL}", f"Token {SPECIAL}", basic(f"alice:{SPECIAL}")],
    ids=["bearer", "token", "basic"],
)
def test_a_credential_in_another_spelling(passage: Passage, spelling: str, authorization: str) -> None:
    """As it stands in a URL, or in a log that knows no capitals, a credential does not leave either."""
    spelled = SPELLINGS[spelling](SPECIAL)
    elsewhere = {"url.path": f"/a/{spelled}/b", "url.query": f"q=a%20b&r={spelled}&s", "user_agent.original": spelled}
    [span] = passage.through([span_of({AUTHORIZATION: authorization, **elsewhere}, name=f"GET /{spelled}")])
    assert span["attributes"]["url.path"] == "/a/REDACTED/b"
    assert span["attributes"]["url.query"] == "q=a%20b&r=REDACTED&s"
    assert span["attributes"]["user_agent.original"] == "REDACTED"
    assert span["name"] == "GET /REDACTED"


def test_others_in_another_spelling(passage: Passage) -> None:
    """What only resembles a credential stays, also where it has to be looked at more closely and beside one."""
    elsewhere = {
        "url.path": f"/a%20b/{MARK.lower()}%2Fof%2Bbob",
        "url.query": "q=%2Fof%2BAlice",
        "url.template": "<nil>",
    }
    captured = {AUTHORIZATION: f"Bearer {SPECIAL}", "user_agent.original": SPECIAL}
    [span] = passage.through([span_of({**captured, **elsewhere})])
    assert {name: span["attributes"][name] for name in elsewhere} == elsewhere


@pytest.mark.parametrize("token", ["p@s!w0r#d", "++++++++++", f"ö+{MARK}/ä", "abc12345"])
def test_credentials_of_few_letters(passage: Passage, token: str) -> None:
    """Also those are found percent-encoded of which hardly a letter stays as it is."""
    spelled = quote(token, safe="")
    header = {AUTHORIZATION: [basic(f"alice:{token}")], "http.request.header.x-api-key": [f"{token[:8]}"]}
    [span] = passage.through([span_of({**header, "url.path": f"/~/{spelled}/~"})])
    assert span["attributes"]["url.path"] == "/~/REDACTED/~"


@pytest.mark.parametrize(
    "token", ["%1Fabcdefgh", "%1Fa%1Fe%1F%1Ft%1F", "%1F000%C2%80%C2%80", "%1E%1E%1E%1E%1E%1E%1E%1E"]
)
def test_control_characters_in_a_credential(passage: Passage, token: str) -> None:
    """Whatever a client sends as a token, what else is told of its request stays."""
    others = {"url.path": "/a%20tea", "user_agent.original": "tea", "client.address": "10.1.2.3"}
    [span] = passage.through([span_of({"url.query": f"token={token}", **others})])
    assert {name: span["attributes"][name] for name in others} == others
    assert span["attributes"]["url.query"] == "token=REDACTED"
    assert span["attributes"][key.TOKEN_SCHEME] == "api_key"


def test_a_password_that_is_in_the_users_name(passage: Passage) -> None:
    """Such a password is no secret, in capitals or not: the user is named as in a Python application."""
    pairs = ("testuser:testuser", "testuser-1:testuser", "testuser:Testuser", "TESTUSER-1:testuser")
    passage.check(*(Request({"authorization": basic(each)}) for each in pairs))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.text(st.sampled_from("\\EQ.*+?()[]{}|^$ab-/é"), min_size=8, max_size=30), min_size=1, max_size=20))
def test_no_credential_is_an_expression(passage: Passage, tokens: list[str]) -> None:
    """A credential is taken as it is written: it is removed itself, and nothing that it would match were it one."""
    other = "0123456789 nothing of a token"
    spans = [
        span_of({AUTHORIZATION: f"Bearer {token}", "url.path": f"~{token}~", "url.template": f"0{other}"})
        for token in tokens
    ]
    for span in passage.through(spans):
        assert span["attributes"]["url.path"] == "~REDACTED~"
        assert span["attributes"]["url.template"] == f"0{other}"


def test_several_values(passage: Passage) -> None:
    """Of a header that came twice the first counts, as in a Python application."""
    twice = {"http.request.header.authorization": [f"Bearer {MARK}1", f"Bearer {MARK}2"]}
    left = passage.through([span_of(twice), span_of({"http.request.header.authorization": f"Bearer {MARK}1"})])
    assert len({span["attributes"][key.TOKEN_ID] for span in left}) == 1


PRINTABLE = string.ascii_letters + string.digits + string.punctuation
ANY_HEADER = st.text(st.sampled_from(PRINTABLE + " \t\xc3\xb6\xe4\xe2\x82\xac"), max_size=40)
ANY_TOKEN = st.one_of(st.text(st.sampled_from(PRINTABLE), min_size=1), st.sampled_from(TOKENS + NON_ASCII), ANY_HEADER)
ANY_CLAIM = st.one_of(
    st.text(max_size=20), st.integers(), st.none(), st.booleans(), st.lists(st.integers(), max_size=2)
)
ANY_JWT = st.builds(
    lambda claims: jwt(**claims),
    st.dictionaries(
        st.sampled_from(("exp", "iss", "sub", "azp", "client_id", "cid", "jti", "preferred_username")), ANY_CLAIM
    ),
)
ANY_AUTHORIZATION = st.one_of(
    st.builds(lambda template, token: template.format(token), st.sampled_from(TEMPLATES), ANY_TOKEN | ANY_JWT),
    st.builds(basic, st.text(max_size=20)),
    st.builds(lambda text: f"basic {text}", st.text(st.sampled_from(string.ascii_letters + "+/-_=:"), max_size=20)),
    ANY_HEADER,
)
ANY_QUERY = st.one_of(
    st.just(""),
    st.builds(
        lambda template, value: template.format(value), st.sampled_from(QUERIES), st.sampled_from(VALUES) | ANY_JWT
    ),
    st.builds(lambda value: f"token={value}", st.text(st.sampled_from(PRINTABLE.replace("#", "")), max_size=30)),
    st.builds(lambda value: f"a=1&access_token={quote(value)}", st.text(max_size=20)),
)
ANY_REQUEST = st.builds(
    Request,
    st.one_of(
        st.fixed_dictionaries({"authorization": ANY_AUTHORIZATION}),
        st.dictionaries(st.sampled_from(CREDENTIAL_HEADERS), ANY_AUTHORIZATION, max_size=3),
    ),
    ANY_QUERY,
    st.sampled_from((200, 200, 401, 403)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(ANY_REQUEST, min_size=1, max_size=25))
def test_any_request(passage: Passage, requests: list[Request]) -> None:
    """Whatever stands where a credential may stand is the same token, user and hint at both ends."""
    passage.check(*requests)
