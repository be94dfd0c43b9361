"""Finding the one item that a receiver refuses, so that it does not hold up the others. Pure.

A refusal names no item. What was refused together is halved until single items are left, those
that went wrong by themselves: one among 200 costs sixteen further requests. Where several
are refused one by one and nothing at all is accepted, it is not the items: the rest is left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from indexer.errors import FeedError, FeedProtocolError

T = TypeVar("T")
_MOST_REFUSED = 4


@dataclass(slots=True)
class Parted(Generic[T]):
    """What became of items.

    Attributes:
        sent: accepted.
        refused: not even accepted alone, while others were.
        left: not accepted for a reason that is not theirs; to be tried again soon.
        error: the last, where something was not accepted.
    """

    sent: list[T] = field(default_factory=list)
    refused: list[T] = field(default_factory=list)
    left: list[T] = field(default_factory=list)
    error: FeedError | None = None

    @property
    def is_stuck(self) -> bool:
        """Whether sending on makes no sense now."""
        return bool(self.left)


def send_apart(items: Sequence[T], send: Callable[[Sequence[T]], None]) -> Parted[T]:
    """Send items together, and apart where they are refused together.

    Args:
        items: in order.
        send: raises ``FeedProtocolError`` where the receiver answers that it does not take
            them, and another ``FeedError`` where it is not to be spoken to now.
    """
    parted: Parted[T] = Parted()
    waiting = [list(items)] if items else []
    while waiting:
        part = waiting.pop()
        try:
            send(part)
        except FeedProtocolError as error:
            parted.error = error
            if len(part) == 1:
                parted.refused += part
            elif not parted.sent and len(parted.refused) >= _MOST_REFUSED:
                parted.left += part
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        except FeedError as error:
            parted.error = error
            parted.left += part
            for rest in waiting:
                parted.left += rest
            break
        else:
            parted.sent += part
    if not parted.sent:
        # Nobody can say whether it is these items or everything.
        parted.left, parted.refused = [*parted.refused, *parted.left], []
    return parted
