"""Where an image was found."""

from dataclasses import dataclass, field

from indexer.model import PageMark


@dataclass(frozen=True, slots=True)
class Place:
    """A page on which an image was found, if any, and what it says of the image, if known."""

    page_url: str | None = field(default=None, repr=False)
    marks: frozenset[PageMark] | None = None

    @property
    def page_urls(self) -> tuple[str, ...]:
        """The page, or nothing."""
        return (self.page_url,) if self.page_url else ()
