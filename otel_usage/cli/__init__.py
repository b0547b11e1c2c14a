"""The command line: wiring, options and exit codes; no SQL, no logic."""
