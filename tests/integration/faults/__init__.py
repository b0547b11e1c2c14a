"""Faults: what is killed, stopped, full, damaged or replaced while real processes write and commit."""

import pytest

# Their assertions say what they have found.
pytest.register_assert_rewrite(f"{__name__}.phases", f"{__name__}.killing", f"{__name__}.system_calls")
