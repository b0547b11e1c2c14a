-- Grain: one row per token_id; requests without a token are the row where it is NULL.
-- Columns: token_id, token_name, token_scheme, token_hint; the measures without `tokens`.
-- Rules: name, scheme and hint are the latest known ones; of two at the same instant the greater one.
SELECT
    token_id,
    arg_max(token_name, (start_time, token_name)) FILTER (WHERE token_name IS NOT NULL) AS token_name,
    arg_max(token_scheme, (start_time, token_scheme)) FILTER (WHERE token_scheme IS NOT NULL) AS token_scheme,
    arg_max(token_hint, (start_time, token_hint)) FILTER (WHERE token_hint IS NOT NULL) AS token_hint,
    {measures}
FROM selected
GROUP BY token_id
