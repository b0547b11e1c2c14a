"""`OTEL_USAGE_EXPORTER=otlp`: finished segments -> an OTLP endpoint."""
