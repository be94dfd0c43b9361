"""Read by every Python process that the tests start: hides what only the tests install."""

import sys

sys.modules["scipy"] = None  # type: ignore[assignment]
