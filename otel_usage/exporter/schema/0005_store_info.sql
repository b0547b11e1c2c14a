-- Grain: one fact about the store: lines, inserted, duplicate, rejected (totals of every commit ever),
-- removed (rows taken out since, once there were any: rows = inserted - removed),
-- opened_at (UTC, last time a leader opened it), token_key_check (tells deployment keys apart).
CREATE TABLE store_info (
    name  VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);
INSERT INTO store_info VALUES ('lines', '0'), ('inserted', '0'), ('duplicate', '0'), ('rejected', '0');
