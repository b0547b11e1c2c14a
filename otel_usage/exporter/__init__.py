"""From a span to a row that survives: record, journal, commit, store."""
