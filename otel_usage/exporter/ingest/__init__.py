"""`otel-usage ingest`: what the Collector's file exporter writes -> the journal."""
