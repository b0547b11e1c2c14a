-- Grain: one request span. `requests` for people: its columns under the same names and in the same order,
-- ids as OpenTelemetry writes them, then what every question needs. Days and hours are UTC.
CREATE VIEW usage AS
SELECT
    * REPLACE (
        replace(trace_id::VARCHAR, '-', '') AS trace_id,
        lpad(lower(to_hex(span_id)), 16, '0') AS span_id,
        lpad(lower(to_hex(parent_span_id)), 16, '0') AS parent_span_id
    ),
    duration_ns / 1e6 AS duration_ms,
    coalesce(status_code >= 400, error_type IS NOT NULL) AS is_error,
    start_time::DATE AS day,
    date_trunc('hour', start_time) AS hour
FROM requests;
