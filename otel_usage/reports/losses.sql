-- Grain: one reason for which something could not be kept, or was left out on purpose.
-- Columns: reason, records, noticed_at (UTC, the last time).
SELECT reason, sum(records) AS records, max(noticed_at) AS noticed_at
FROM losses
GROUP BY reason
ORDER BY reason
