-- Grain: one migration of this folder that was applied to this store.
CREATE TABLE schema_migrations (
    version    INTEGER NOT NULL,
    name       VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL  -- UTC
);
