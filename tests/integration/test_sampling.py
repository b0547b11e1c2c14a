"""Sampling decides what a tracing backend gets, never what is counted."""

import json
import random

import pytest

from tests.integration.site import Site, serve, wait_for

COMMAND = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "traced_app:app"]
REQUESTS = 400


def trace_ids() -> list[str]:
    """The same ids in every run, so that a sampler by ratio decides the same."""
    source = random.Random(20261121)
    return [f"{source.getrandbits(128):032x}" for _ in range(REQUESTS)]


def ask_all(site: Site, parents: list[str | None]) -> list[str]:
    """Ask once for each `traceparent`; returns the outgoing ones that the application answered with."""
    outgoing = []
    for number, parent in enumerate(parents):
        answer = site.ask("GET", f"/calls/{number}", {} if parent is None else {"traceparent": parent})
        assert answer.status == 200, site.log
        outgoing.append(json.loads(answer.body)["traceparent"])
    return outgoing


def exported_requests(site: Site) -> set[str]:
    """Trace ids of the request spans that the application's own exporter got."""
    path = site.directory / "exported.jsonl"
    spans = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {span["trace"] for span in spans if span["kind"] == "SERVER"}


@pytest.fixture(scope="module")
def sampled_site(tmp_path_factory):
    """A tenth of the requests is sampled; all of them start their own trace."""
    directory = tmp_path_factory.mktemp("sampled")
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    with serve(directory, "traced_app.py", COMMAND, **sampler) as site:
        site.outgoing = ask_all(site, [None] * REQUESTS)
        site.stop()
        site.read_rows()
        yield site


def test_every_request_has_a_row(sampled_site):
    """What is not sampled is counted all the same."""
    assert len(sampled_site.rows) == REQUESTS
    assert {row["path"] for row in sampled_site.rows} == {f"/calls/{number}" for number in range(REQUESTS)}


def test_rows_say_what_was_sampled(sampled_site):
    """`sampled` is true for about a tenth (five standard deviations around it), false for all others."""
    sampled = [row["sampled"] for row in sampled_site.rows]
    assert set(sampled) == {True, False}
    assert 10 <= sampled.count(True) <= 70


def test_the_other_exporter_gets_only_what_was_sampled(sampled_site):
    """A standard exporter beside ours gets exactly the sampled requests."""
    sampled = {row["trace_id"] for row in sampled_site.rows if row["sampled"]}
    assert exported_requests(sampled_site) == sampled


def test_outgoing_flags_say_what_was_sampled(sampled_site):
    """What the application sends on carries the flag of the sampler's own decision."""
    sampled = {row["trace_id"]: row["sampled"] for row in sampled_site.rows}
    for traceparent in sampled_site.outgoing:
        _, trace_id, _, flags = traceparent.split("-")
        assert sampled[trace_id] is bool(int(flags, 16) & 1)


@pytest.mark.parametrize("exports", [True, False], ids=["exporting", "alone"])
@pytest.mark.parametrize(
    "sampler", ["traceidratio", "parentbased_traceidratio", "parentbased_always_on", "always_off", "always_on"]
)
def test_outgoing_headers_are_the_same_without_us(tmp_path, sampler, exports):
    """For the same incoming headers the outgoing flags and trace ids are those of an application without us.

    Also where nobody but us sees its spans, so that children of request spans are left out.
    """
    parents = [f"00-{trace_id}-{7:016x}-{number % 2:02x}" for number, trace_id in enumerate(trace_ids()[:60])]
    told = {}
    for exporter in ("duckdb", "none"):
        variables = {
            "OTEL_TRACES_SAMPLER": sampler,
            "OTEL_TRACES_SAMPLER_ARG": "0.4",
            "OTEL_USAGE_EXPORTER": exporter,
        }
        if not exports:
            variables["SITE_EXPORTS_NOTHING"] = "1"
        if not sampler.endswith("ratio"):
            del variables["OTEL_TRACES_SAMPLER_ARG"]
        with serve(tmp_path / exporter, "traced_app.py", COMMAND, **variables) as site:
            told[exporter] = [value.split("-") for value in ask_all(site, list(parents))]
            exported = exported_requests(site)
            if exporter == "duckdb":
                wait_for(lambda site=site: len(site.read_rows()) == len(parents))
                with_us = exported
    without_us = exported
    assert [(version, trace, flags) for version, trace, _, flags in told["duckdb"]] == [
        (version, trace, flags) for version, trace, _, flags in told["none"]
    ]
    assert with_us == without_us
