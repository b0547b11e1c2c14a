-- Grain: one row per operation, method and route; any of them may be NULL.
-- Columns: operation, method, route; the measures.
SELECT
    operation,
    method,
    route,
    {measures}
FROM selected
GROUP BY operation, method, route
