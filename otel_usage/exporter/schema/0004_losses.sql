-- Grain: one reason in one segment. What could not be kept whole, or was left out on purpose.
CREATE TABLE losses (
    noticed_at TIMESTAMP NOT NULL,  -- UTC, of the commit
    records    BIGINT NOT NULL,
    reason     VARCHAR NOT NULL,
    detail     VARCHAR,
    segment_id VARCHAR
);
