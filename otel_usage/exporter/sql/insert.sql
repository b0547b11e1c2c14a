-- The rows of `batch` that are kept, into `requests`.
INSERT INTO requests
SELECT batch.* FROM batch JOIN kept ON batch.rowid = kept.row_number
