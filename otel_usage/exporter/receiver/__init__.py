"""`otel-usage collect`: an OTLP/HTTP receiver."""
