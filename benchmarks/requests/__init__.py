"""What a request costs, beside OpenTelemetry itself and beside other packages that record usage."""
