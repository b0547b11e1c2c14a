-- Grain: one reason in one segment; what is no loss of a record (left out on purpose, kept but changed), which may go
-- on for ever, is one reason a day without a segment.
CREATE TABLE losses (
    noticed_at TIMESTAMP NOT NULL,  -- UTC, of the commit
    records    BIGINT NOT NULL,
    reason     VARCHAR NOT NULL,
    detail     VARCHAR,
    segment_id VARCHAR
);
