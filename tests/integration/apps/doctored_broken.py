"""Cannot be imported, for a reason that must not be shown whole."""

raise ValueError("postgres://portal:hunter2-hunter2@db/portal")
