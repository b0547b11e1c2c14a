"""Named queries over the store: one SQL file a report, periods, filters, formats."""
