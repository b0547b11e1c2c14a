-- Grain: one fact about the store.
-- Columns: name, value.
SELECT name, value
FROM store_info
