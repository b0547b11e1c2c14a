-- Working table of one turn, grain: one readable journal line, in the order of files and lines (rowid).
CREATE TEMP TABLE batch AS FROM requests LIMIT 0;
ALTER TABLE batch ALTER start_time SET NOT NULL;
ALTER TABLE batch ALTER duration_ns SET NOT NULL;
ALTER TABLE batch ALTER trace_id SET NOT NULL;
ALTER TABLE batch ALTER span_id SET NOT NULL;
