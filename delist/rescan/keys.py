"""The keys of runs: what seals and opens what they leave on shared storage.

A run that is over has none, so nobody reads what may still lie somewhere of it. Nor has one that
is older than withdrawn signals may be kept (``store.purge_after_s``).
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

from indexer.store import load_or_create_secret
from indexer.store.secret import make_private

_RUN = re.compile("[0-9a-f]{32}")


class RunKeys:
    """Keys in a folder of the data directory, one a run.

    Attributes:
        folder: private; also for what a run writes before it is sealed.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "rescans"

    def make(self, run: str) -> bytes:
        """Make the key of a new run.

        Raises:
            StoreError: it cannot be written.
        """
        make_private(self.folder)
        return load_or_create_secret(self._path(run))

    def find(self, run: str) -> bytes:
        """Return the key of a run; empty where it is gone.

        Raises:
            StoreError: it cannot be read.
        """
        path = self._path(run)
        return load_or_create_secret(path) if path.exists() else b""

    def destroy(self, run: str) -> None:
        """Let nobody read again what the run has written."""
        self._path(run).unlink(missing_ok=True)

    def destroy_old(self, *, now: datetime, keep_for: timedelta) -> int:
        """Destroy the keys that were made too long ago; returns how many."""
        oldest = (now - keep_for).timestamp()
        old = [path for path in self.folder.glob("*.key") if path.stat().st_mtime < oldest]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, run: str) -> Path:
        """Return where the key of a run is; names come from storage that others write to."""
        return self.folder / f"{run if _RUN.fullmatch(run) else 'none'}.key"
