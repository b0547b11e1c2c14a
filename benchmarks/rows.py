"""Rows of a data portal, made by DuckDB in any number: the same shape in every run, not the same values."""

from pathlib import Path

from otel_usage.exporter.paths import StorePaths
from otel_usage.exporter.workbench import attached, workbench

_STEP: int = 1_000_000
_MICROSECONDS: int = 86_400_000_000

# Six of ten requests carry one of 5,000 tokens, the others come from 60,000 networks; what is popular is asked for
# more often (cubes of uniform numbers); a twentieth are probes for pages that do not exist. Durations are log-normal.
_ROWS = """
WITH drawn AS (
    SELECT i, random() AS a, random() AS b, random() AS c, random() AS d, random() AS e, random() AS f,
        random() AS g, random() AS h
    FROM range({first}, {last}) AS numbers(i)
), told AS (
    SELECT *, (5000 * a ^ 3)::INT AS person, b < 0.6 AS signed, (7000 * c ^ 3)::INT AS file,
        (1500 * c ^ 3)::INT AS dataset, CASE WHEN d < 0.5 THEN 'view' WHEN d < 0.75 THEN 'download'
        WHEN d < 0.85 THEN 'list' WHEN d < 0.95 THEN 'search' END AS kind
    FROM drawn
)
SELECT
    make_timestamp({start} + i * {step} + (e * {step})::BIGINT) AS start_time,
    (1e6 * exp(2.2 + 0.9 * sqrt(-2 * ln(f + 1e-12)) * cos(2 * pi() * g)))::BIGINT AS duration_ns,
    gen_random_uuid() AS trace_id,
    hash(i, h) AS span_id,
    CASE WHEN h < 0.05 THEN hash(h) END AS parent_span_id,
    'portal' AS service_name,
    '1.2.0' AS service_version,
    'production' AS environment,
    'data.example.org' AS host,
    'GET' AS method,
    CASE kind WHEN 'view' THEN '/datasets/<int:dataset>' WHEN 'download' THEN '/datasets/<int:dataset>/files/<name>'
        WHEN 'list' THEN '/datasets' WHEN 'search' THEN '/search' END AS route,
    CASE kind WHEN 'view' THEN '/datasets/' || dataset
        WHEN 'download' THEN '/datasets/' || dataset || '/files/table-' || file || '.csv'
        WHEN 'list' THEN '/datasets' WHEN 'search' THEN '/search' ELSE '/wp-login.php' END AS path,
    CASE kind WHEN 'list' THEN 'page=' || (50 * c ^ 2)::INT
        WHEN 'search' THEN 'q=word' || (3000 * f ^ 2)::INT END AS query,
    'https' AS scheme,
    '1.1' AS protocol_version,
    CASE WHEN kind IS NULL THEN 404 WHEN g < 0.01 THEN 500 WHEN g < 0.03 THEN 403 ELSE 200 END AS status_code,
    0 AS request_bytes,
    CASE kind WHEN 'download' THEN 1000 + (file * 7919) % 5000000 WHEN 'view' THEN 800 + (dataset * 37) % 9000
        ELSE 500 + (h * 4000)::INT END AS response_bytes,
    CASE WHEN signed THEN '10.' || (person % 200) || '.' || (person * 7 % 250) || '.0'
        ELSE '203.' || (250 * e ^ 2)::INT || '.' || (250 * f ^ 2)::INT || '.0' END AS client_address,
    CASE WHEN signed AND person % 3 = 0 THEN 'python-requests/2.' || (20 + person % 12) || '.' || person % 4
        ELSE 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1' || (10 + person % 30)
        || '.0.0.0 Safari/537.36' END AS user_agent,
    CASE WHEN NOT signed AND g < 0.3 THEN 'https://www.example.org/find?topic=' || (200 * g ^ 2)::INT END AS referrer,
    CASE WHEN signed THEN 'tok_' || left(md5(person::VARCHAR), 16) END AS token_id,
    CASE WHEN signed AND person % 5 = 0 THEN 'key of team ' || person % 50 END AS token_name,
    CASE WHEN signed THEN 'bearer' END AS token_scheme,
    CASE WHEN signed THEN '…' || right(md5((person + 1)::VARCHAR), 4) END AS token_hint,
    CASE WHEN signed THEN person::VARCHAR END AS user_id,
    CASE WHEN signed THEN 'user' || person END AS user_name,
    CASE WHEN signed THEN 'framework' END AS user_source,
    CASE kind WHEN 'view' THEN 'dataset' WHEN 'download' THEN 'file' WHEN 'list' THEN 'dataset' END AS resource_type,
    CASE kind WHEN 'view' THEN dataset::VARCHAR WHEN 'download' THEN 'table-' || file || '.csv' END AS resource_id,
    CASE kind WHEN 'download' THEN 'dataset' END AS resource_parent_type,
    CASE kind WHEN 'download' THEN dataset::VARCHAR END AS resource_parent_id,
    kind AS action,
    CASE kind WHEN 'view' THEN 'dataset_show' WHEN 'download' THEN 'file_download' ELSE kind END AS operation,
    true AS sampled,
    MAP {{'server.port': '443'}} AS attributes,
    md5((i // 1250)::VARCHAR) AS segment_id
FROM told
ORDER BY i
"""


def query(first: int, last: int, *, of: int, until: float, days: int = 90) -> str:
    """A query for requests `first` to `last` (excluded) of `of` that came evenly in the days before `until`.

    Args:
        first: Number of the first.
        last: Number after the last.
        of: How many there are in all.
        until: Seconds since 1970.
        days: Over how many days they are spread.
    """
    step = days * _MICROSECONDS // of
    return _ROWS.format(first=first, last=last, step=step, start=int(until * 1e6) - of * step)


def fill(paths: StorePaths, first: int, last: int, *, of: int, until: float) -> None:
    """Put such requests into a store, made if it is missing, as a leader would have done it over time."""
    with workbench(paths) as connection, attached(connection, paths, to_write=True):
        connection.execute("SET threads = 2; SET memory_limit = '4GB'")
        for start in range(first, last, _STEP):
            rows = query(start, min(start + _STEP, last), of=of, until=until)
            connection.execute(f"INSERT INTO requests BY NAME {rows}")


def store_paths(folder: Path) -> StorePaths:
    """Paths of a store in this folder."""
    return StorePaths.of(folder / "usage.duckdb")
