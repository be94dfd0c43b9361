"""``python -m delist``: the same as the command ``delist``."""

import sys

from delist.cli import main

sys.exit(main())
