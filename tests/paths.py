"""Where things of the checkout are, for tests that need a path."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CASES = REPOSITORY / "tests" / "cases"
PLUGINS = REPOSITORY / "tests" / "plugins"
