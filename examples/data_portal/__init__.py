"""An example application: a small open-data portal. See README.md beside this file."""
