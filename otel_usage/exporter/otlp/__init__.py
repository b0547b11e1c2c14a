"""OTLP trace data: spans on the wire and in files -> records, and back."""
