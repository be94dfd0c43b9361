"""The filter that result pages ask: is this URL suppressed?

``SuppressionFilter`` answers from a snapshot that lies in the memory map and from what the
ledger has appended since; ``keep_snapshot`` builds the snapshot. See ADR 0030.
"""

from delist.serving.filter import SuppressionFilter
from delist.serving.keeping import SnapshotReport, keep_snapshot

__all__ = ["SnapshotReport", "SuppressionFilter", "keep_snapshot"]
