-- The measures of every report, over any rows of `usage`. Included in its place by the reports.
-- A view or download that failed is counted as an error, not as a view or download.
-- Bytes are the sum of what was reported, NULL where no request reported a size.
count(*) AS requests,
count(*) FILTER (WHERE action = 'view' AND is_error IS NOT TRUE) AS views,
count(*) FILTER (WHERE action = 'download' AND is_error IS NOT TRUE) AS downloads,
count(*) FILTER (WHERE is_error) AS errors,
count(*) FILTER (WHERE status_code >= 500) AS server_errors,
count(DISTINCT token_id) AS tokens,
count(DISTINCT user_id) AS users,
count(DISTINCT (resource_type, resource_id))
    FILTER (WHERE resource_type IS NOT NULL OR resource_id IS NOT NULL) AS resources,
sum(request_bytes) AS request_bytes,
sum(response_bytes) AS response_bytes,
round(quantile_cont(duration_ms, 0.5), 3) AS p50_ms,
round(quantile_cont(duration_ms, 0.95), 3) AS p95_ms,
min(start_time) AS first_used,
max(start_time) AS last_used
