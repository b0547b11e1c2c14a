"""The demo: the example portal under `opentelemetry-instrument`, real requests, and the store they leave.

Says nothing on standard output: what is printed is decided in `cli.commands.demo`.
"""
