-- Grain: one committed segment whose file may still be there; so that it is only removed, never read again.
-- lines = inserted + duplicate + rejected.
CREATE TABLE journal_segments (
    segment_id   VARCHAR NOT NULL,
    committed_at TIMESTAMP NOT NULL,  -- UTC
    lines        BIGINT NOT NULL,
    inserted     BIGINT NOT NULL,
    duplicate    BIGINT NOT NULL,
    rejected     BIGINT NOT NULL
);
