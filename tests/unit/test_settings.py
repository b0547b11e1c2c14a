"""Settings: where they come from, which wins, and what becomes of a bad one."""

import pytest

from otel_usage.errors import ConfigurationError
from otel_usage.settings import Transport, load


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    """No configuration file but the one a test writes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults(tmp_path):
    """With nothing set everything has its documented default, and paths are absolute."""
    settings = load({}, strict=True)
    assert settings.database == tmp_path / "usage.duckdb"
    assert settings.token_key_file == tmp_path / "usage.duckdb.key"
    assert (settings.exporter, settings.endpoint) == ("duckdb", "http://127.0.0.1:4318")
    assert (settings.commit_interval_seconds, settings.journal_max_bytes) == (5.0, 1073741824)
    assert (settings.token_key, settings.anonymous, settings.privacy_level) == (None, True, 1)
    assert not settings.sdk_disabled
    assert settings.problems == ()


def test_environment_wins_over_file(tmp_path):
    """A key in both places has the environment's value, one only in the file has the file's."""
    (tmp_path / "otel-usage.toml").write_text('privacy_level = 2\nanonymous = false\ndatabase = "a.duckdb"\n')
    settings = load({"OTEL_USAGE_DATABASE": "b.duckdb"}, strict=True)
    assert (settings.privacy_level, settings.anonymous) == (2, False)
    assert settings.database == tmp_path / "b.duckdb"
    assert settings.token_key_file == tmp_path / "b.duckdb.key"


def test_the_callers_store_wins(tmp_path):
    """A store named on the command line is taken whatever the environment says."""
    settings = load({"OTEL_USAGE_DATABASE": "b.duckdb"}, strict=True, database=tmp_path / "c.duckdb")
    assert settings.database == tmp_path / "c.duckdb"


def test_who_has_said_which_exporter(tmp_path):
    """The default is nobody's word, nor is what cannot be used."""
    said = [
        load({"OTEL_USAGE_EXPORTER": value}, strict=False).is_exporter_set for value in ("", "carrier-pigeon", "duckdb")
    ]
    assert said == [False, False, True]
    (tmp_path / "otel-usage.toml").write_text('exporter = "duckdb"\n')
    assert load({}, strict=True).is_exporter_set


def test_empty_is_unset():
    """An empty variable is as good as none, as OpenTelemetry specifies for its own."""
    assert load({"OTEL_USAGE_EXPORTER": ""}, strict=True).exporter == "duckdb"


BAD = [
    ("OTEL_USAGE_EXPORTER", "carrier-pigeon"),
    ("OTEL_USAGE_ENDPOINT", "localhost:4318"),
    ("OTEL_USAGE_ENDPOINT", "http://"),
    ("OTEL_USAGE_ENDPOINT", "http://host:port"),
    ("OTEL_USAGE_ENDPOINT", "http://host/ HTTP/1.1"),
    ("OTEL_USAGE_ENDPOINT", "http://höst"),
    ("OTEL_USAGE_COMMIT_INTERVAL", "often"),
    ("OTEL_USAGE_COMMIT_INTERVAL", "nan"),
    ("OTEL_USAGE_COMMIT_INTERVAL", "0"),
    ("OTEL_USAGE_JOURNAL_MAX_BYTES", "1.5"),
    ("OTEL_USAGE_JOURNAL_MAX_BYTES", "10"),
    ("OTEL_USAGE_ANONYMOUS", "perhaps"),
    ("OTEL_USAGE_PRIVACY_LEVEL", "3"),
    ("OTEL_USAGE_DATABASE", " "),
]


@pytest.mark.parametrize(("variable", "value"), BAD)
def test_bad_value_at_the_command_line(variable, value):
    """A bad value is refused with its variable, the value and what it must be."""
    with pytest.raises(ConfigurationError, match=variable) as refused:
        load({variable: value}, strict=True)
    assert repr(value) in refused.value.message
    assert "must be" in refused.value.hint


@pytest.mark.parametrize(("variable", "value"), BAD)
def test_bad_value_in_an_application(variable, value):
    """A bad value is told once and the default stands."""
    settings = load({variable: value}, strict=False)
    (problem,) = settings.problems
    assert variable in problem
    default = load({}, strict=True)
    assert settings.exporter == default.exporter
    assert settings.commit_interval_seconds == default.commit_interval_seconds
    assert settings.database == default.database


def test_a_short_key_is_refused_without_showing_it():
    """The deployment key needs 32 bytes, and is never in an error."""
    with pytest.raises(ConfigurationError, match="OTEL_USAGE_TOKEN_KEY") as refused:
        load({"OTEL_USAGE_TOKEN_KEY": "hunter2"}, strict=True)
    assert "hunter2" not in str(refused.value)


def test_a_key_is_used_byte_for_byte_and_not_shown():
    """The key is the variable's text in UTF-8, and the settings do not print it."""
    key = "ä" * 16
    settings = load({"OTEL_USAGE_TOKEN_KEY": key}, strict=True)
    assert settings.token_key == key.encode()
    assert key not in repr(settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour = 'red'", "'colour'"),
        ("token_key = 'in a file it does not belong'", "'token_key'"),
        ("privacy_level = 7", "privacy_level"),
        ("privacy_level = true", "privacy_level"),
        ("this is = = no toml", "cannot be read"),
    ],
)
def test_bad_file(tmp_path, text, told):
    """A bad file is refused with its path and key at the command line, told and defaulted in an application."""
    path = tmp_path / "otel-usage.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load({}, strict=True)
    assert told in refused.value.message
    assert str(path) in refused.value.message
    settings = load({}, strict=False)
    assert [told in problem for problem in settings.problems] == [True]
    assert settings.privacy_level == 1


def test_a_named_file_must_exist(tmp_path):
    """OTEL_USAGE_CONFIG that names nothing is a mistake; the default name may be absent."""
    with pytest.raises(ConfigurationError, match="OTEL_USAGE_CONFIG"):
        load({"OTEL_USAGE_CONFIG": str(tmp_path / "none.toml")}, strict=True)


def test_a_home_that_is_nobodys():
    """A path in the home of a user who is not there is refused like any bad path."""
    with pytest.raises(ConfigurationError, match="OTEL_USAGE_DATABASE"):
        load({"OTEL_USAGE_DATABASE": "~no-such-user-here/usage.duckdb"}, strict=True)


OTLP = {"OTEL_USAGE_EXPORTER": "otlp"}


def test_how_the_endpoint_is_spoken_to(tmp_path):
    """By default compressed, for ten seconds, with the system's certificates and without headers."""
    transport = load(OTLP, strict=True).transport
    assert transport == Transport((), None, None, None, 10.0, "gzip")
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20abc, x-tenant = a%2Cb",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "client.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "client.key",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    files = (tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key")
    headers = (("authorization", "Bearer abc"), ("x-tenant", "a,b"))
    assert load(OTLP | environ, strict=True).transport == Transport(headers, *files, 3.0, "none")


def test_headers_of_our_own():
    """Those of the tracing backend are not for everybody: ours stand in their place, not beside them."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=of-the-vendor",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=of-the-vendor",
        "OTEL_USAGE_HEADERS": "authorization=Bearer%20ours",
    }
    assert load(OTLP | environ, strict=True).transport.headers == (("authorization", "Bearer ours"),)


@pytest.mark.parametrize(("value", "seconds"), [("10", 10), ("0.5", 0.5), ("600", 600), ("1000", 1), ("10000", 10)])
def test_the_time_in_either_unit(value, seconds):
    """Python's exporters read seconds, the specification means milliseconds; nobody means a thousand seconds."""
    assert load(OTLP | {"OTEL_EXPORTER_OTLP_TIMEOUT": value}, strict=True).transport.timeout_seconds == seconds


BAD_TRANSPORT = [
    ("OTEL_USAGE_HEADERS", "s3cr3t"),
    ("OTEL_USAGE_HEADERS", "a b=s3cr3t"),
    ("OTEL_USAGE_HEADERS", "a=s3cr3t%0D%0Ax: y"),
    ("OTEL_USAGE_HEADERS", "a=s3cr3t,Host=elsewhere"),
    ("OTEL_USAGE_HEADERS", "a=s3cr3t,content-length=1"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cr3t,content-encoding=br"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cr3t,transfer-encoding=chunked"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "=s3cr3t"),
    ("OTEL_USAGE_ENDPOINT", "https://user:s3cr3t@host"),
    ("OTEL_USAGE_ENDPOINT", "https://host/v1/traces?api-key=s3cr3t"),
    ("OTEL_USAGE_ENDPOINT", "user:s3cr3t@host"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
]


@pytest.mark.parametrize(("variable", "value"), BAD_TRANSPORT)
def test_bad_transport(variable, value):
    """It is refused with the variable, and without what may be a secret."""
    with pytest.raises(ConfigurationError, match=variable) as refused:
        load(OTLP | {variable: value}, strict=True)
    (problem,) = load(OTLP | {variable: value}, strict=False).problems
    assert "s3cr3t" not in f"{refused.value}{problem}"


def test_variables_of_others_matter_where_they_are_used():
    """What other exporters may understand is no fault of a process that forwards nothing."""
    assert load({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, strict=True).transport.timeout_seconds == 10


def test_headers_are_not_shown():
    """Settings are printed and logged."""
    assert "s3cr3t" not in repr(load(OTLP | {"OTEL_USAGE_HEADERS": "a=s3cr3t"}, strict=True))


def test_headers_are_in_no_file(tmp_path):
    """Others read configuration files."""
    (tmp_path / "otel-usage.toml").write_text('headers = "a=b"\n')
    with pytest.raises(ConfigurationError, match="unknown key"):
        load({}, strict=True)
