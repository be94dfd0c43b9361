"""A consumer that obeys what docs/consumers.md says, for receivers that only listen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from delist.consumers import ConsumerKey
from tests.contract.sinks.harness import Document


def hidden_after(
    received: Iterable[Mapping[str, Any]], documents: Sequence[Document], key: ConsumerKey
) -> set[str]:
    """Say which addresses are hidden after all this, however often some of it came."""
    newest: dict[str, int] = {}
    because: dict[str, str] = {}
    for record in received:
        if record["erased"]:
            over = {record["id"], record["supersedes"]}
            because = {place: by for place, by in because.items() if by not in over}
            continue
        place = record["url_key"]
        if record["sequence"] <= newest.get(place, 0):
            continue
        newest[place] = record["sequence"]
        because.pop(place, None)
        if record["suppressed"]:
            because[place] = record["because"]
    return {entry.url for entry in documents if key.of_url(entry.url) in because}
