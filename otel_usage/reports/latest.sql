-- Grain: one row per request.
-- Columns: those of the view `usage`.
SELECT *
FROM selected
