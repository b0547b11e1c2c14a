-- Grain: one row per accessed resource in its parent: resource_type, resource_id, resource_parent_type,
--   resource_parent_id; requests for no resource are the row where all four are NULL.
-- Columns: the four and resource_name; the measures without `resources`.
-- Rules: the name is the latest known one; of two at the same instant the greater one.
SELECT
    resource_type,
    resource_id,
    arg_max(resource_name, (start_time, resource_name)) FILTER (WHERE resource_name IS NOT NULL) AS resource_name,
    resource_parent_type,
    resource_parent_id,
    {measures}
FROM selected
GROUP BY resource_type, resource_id, resource_parent_type, resource_parent_id
