-- Grain: one row per hour, day, week (from Monday) or month ($by) that has requests.
-- Columns: period, its first instant; the measures.
-- Rules: hours, days, weeks and months are those of the session's time zone, changes of clocks included. They are
--   found once for every quarter of an hour, which every offset from UTC since 1972 is a multiple of; calendars are
--   slow. Hours are found by the minutes passed in them: date_trunc makes one of the two that clocks set back share.
WITH quarters AS MATERIALIZED (
    SELECT
        quarter,
        CASE $by
            WHEN 'hour' THEN quarter - (local_time - date_trunc('hour', local_time))
            ELSE timezone('UTC', date_trunc($by, instant))
        END AS period
    FROM (
        SELECT DISTINCT
            time_bucket(INTERVAL 15 MINUTES, start_time) AS quarter,
            timezone('UTC', quarter) AS instant,
            CAST(instant AS TIMESTAMP) AS local_time
        FROM selected
    )
)
SELECT
    period,
    {measures}
FROM selected
JOIN quarters ON time_bucket(INTERVAL 15 MINUTES, start_time) = quarter
GROUP BY period
