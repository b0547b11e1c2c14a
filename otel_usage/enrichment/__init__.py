"""Pure functions from the facts of a request to its token, user, resource and action."""
