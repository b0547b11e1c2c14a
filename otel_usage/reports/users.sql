-- Grain: one row per user_id; requests without a user are the row where it is NULL.
-- Columns: user_id, user_name; the measures without `users`.
-- Rules: the name is the latest known one; of two at the same instant the greater one.
SELECT
    user_id,
    arg_max(user_name, (start_time, user_name)) FILTER (WHERE user_name IS NOT NULL) AS user_name,
    {measures}
FROM selected
GROUP BY user_id
