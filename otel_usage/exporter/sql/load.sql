-- Journal files into `batch`, all of them or none. Strict: ignore_errors would null bad fields and make empty rows.
-- The first line of a segment is known by its column. The name of a file without its suffix is the segment's id.
INSERT INTO batch BY NAME
SELECT
    * EXCLUDE (otel_usage_segment, filename) REPLACE (make_timestamp(start_time) AS start_time),
    parse_filename(filename, true) AS segment_id
FROM read_json(
    $files,
    format = 'newline_delimited',
    columns = {columns},
    filename = true,
    maximum_object_size = 1048576
)
WHERE otel_usage_segment IS NULL
