"""What can go wrong in the crawler. ``str(error)`` never holds a URL or a digest.

A link, page or image that cannot be fetched is no error: it is counted under a
refusal code in the result.

::

    CrawlerError
    ├── CrawlSettingsError   the job or its settings make no sense; nothing was fetched
    ├── CrawlFailedError     the crawl process ended without a result, or could not store
    ├── FrontierError        the shared frontier does not answer, or its crawl is gone
    └── RefusedError         one resource was not fetched, with a named reason
"""

from indexer.errors import StoreError


class CrawlerError(Exception):
    """Base of everything the crawler raises on purpose."""


class CrawlSettingsError(CrawlerError):
    """The job or its settings make no sense. Nothing was fetched."""


class CrawlFailedError(CrawlerError):
    """The crawl ended without a result. What was recorded before stays recorded.

    Running the crawl again is safe: it comes to the same records.
    """


class FrontierError(CrawlerError, StoreError):
    """The shared frontier does not answer, is another version's, or has lost the crawl.

    To a crawl it is what its store is. What the crawler had in hand goes to another one.
    """


class RefusedError(CrawlerError):
    """One resource was not fetched.

    Attributes:
        code: the named reason, for counters.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"refused: {code}")
        self.code = code
