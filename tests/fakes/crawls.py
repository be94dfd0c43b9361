"""The crawl processes that a test has started."""

from contextlib import suppress

import psutil


def crawl_pids() -> list[int]:
    """Find the crawl processes that this process started and that still run."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            if "crawler.worker" in child.cmdline():
                found.append(child.pid)
    return found
