"""Feeds of signals: StopNCII over HTTP, and a file."""

from indexer.errors import FeedSettingsError
from indexer.feed.exchange import DEFAULT_TRIES
from indexer.feed.file import FileFeed
from indexer.feed.stopncii import StopNciiFeed
from indexer.ports import Feed
from indexer.settings import FILE, STOPNCII, FeedSettings

__all__ = ["FileFeed", "StopNciiFeed", "open_feed"]


def open_feed(settings: FeedSettings, *, tries: int = DEFAULT_TRIES) -> Feed:
    """Make the feed that a ``[feeds.NAME]`` table describes. Nothing is read or asked yet.

    Args:
        settings: the table.
        tries: how often a request is sent before the feed counts as unavailable.

    Raises:
        FeedSettingsError: ``type`` names no feed that this version knows.
    """
    if settings.type == STOPNCII:
        return StopNciiFeed(settings, tries=tries)
    if settings.type == FILE:
        return FileFeed(settings)
    raise FeedSettingsError(
        f'feeds.{settings.name}.type: must be "{STOPNCII}" or "{FILE}", is "{settings.type}"'
    )
