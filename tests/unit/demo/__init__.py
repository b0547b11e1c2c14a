"""Tests of `otel_usage.demo`."""
