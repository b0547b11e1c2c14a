-- Grain: one segment of the batch. How many of its lines were read, how many became rows.
SELECT batch.segment_id, count(*) AS loaded, count(kept.row_number) AS inserted
FROM batch LEFT JOIN kept ON batch.rowid = kept.row_number
GROUP BY ALL
