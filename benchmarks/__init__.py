"""What recording costs. Targets live here, never in tests."""
