"""``python -m delist``: the same as the command ``delist``."""

import sys

from delist.loading import without_collecting


def start() -> int:
    """Run the command line of this process; returns the exit code."""
    with without_collecting():
        from delist.cli import main  # noqa: PLC0415 - that is the point
    return main()


if __name__ == "__main__":
    sys.exit(start())
