-- Working table of one turn, grain: one distinct key of `batch` that `requests` does not have: its first row.
-- {known} selects the keys that `requests` has in the hours of the batch.
CREATE TEMP TABLE kept AS
SELECT min(batch.rowid) AS row_number
FROM batch
ANTI JOIN ({known}) AS known USING (start_time, duration_ns, trace_id, span_id)
GROUP BY start_time, duration_ns, trace_id, span_id
