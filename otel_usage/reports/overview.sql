-- Grain: one row.
-- Columns: the measures; left_out, anonymous, without_resource, lost, uncommitted.
-- Rules: anonymous requests have neither token nor user. `left_out` and `lost` are of all time, whatever the
--   period and filters: what was not kept has no columns to ask for. `lost` adds what is still only noted in the
--   journal ($lost_pending) to what the store knows; `uncommitted` is what the journal holds ($uncommitted).
SELECT
    {measures},
    (SELECT coalesce(sum(records), 0) FROM losses WHERE reason = 'anonymous_left_out') AS left_out,
    count(*) FILTER (WHERE coalesce(token_id, token_scheme, user_id, user_name) IS NULL) AS anonymous,
    count(*) FILTER (WHERE resource_type IS NULL AND resource_id IS NULL) AS without_resource,
    (SELECT coalesce(sum(records), 0) FROM losses WHERE list_contains($lost_reasons, reason)) + $lost_pending AS lost,
    CAST($uncommitted AS BIGINT) AS uncommitted
FROM selected
