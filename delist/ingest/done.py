"""What became of one row: the answer of the processes that work to the one that records."""

from dataclasses import dataclass, field

from indexer.model import ImageVisit
from indexer.visits import DeepResult

PAGE_READ = "pages_read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of one row.

    Attributes:
        visits: images that were there.
        searched: what the deep tier found, one for each of ``visits``.
        places: visits that only say where images that are stored were seen.
        refusals: code and address of each thing that was refused.
        passed: what the row was, where it was none of this pass.
    """

    visits: tuple[ImageVisit, ...] = ()
    searched: tuple[DeepResult | None, ...] = ()
    places: tuple[ImageVisit, ...] = ()
    refusals: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    passed: str = ""

    @property
    def is_page(self) -> bool:
        """Whether it was a page that was read."""
        return self.passed == PAGE_READ
