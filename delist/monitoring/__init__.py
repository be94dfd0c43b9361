"""How an installation stands: figures of both stores, and what of them is stale or wrong.

``monitor`` reads ``figures``, ``judging`` finds ``conditions`` in them, ``crawl_queue`` asks what
no store knows; ``doctor``, ``/readyz``, ``/v1/status`` and the metrics say what these say, in the
same words.
Nothing here names a case, an address or a signal.
"""

from delist.monitoring.conditions import CODES, Condition, Health, Limits
from delist.monitoring.crawl_queue import CrawlQueue
from delist.monitoring.figures import Figures
from delist.monitoring.judging import conditions
from delist.monitoring.monitor import Monitor

__all__ = [
    "CODES",
    "Condition",
    "CrawlQueue",
    "Figures",
    "Health",
    "Limits",
    "Monitor",
    "conditions",
]
