"""What every use case of appeals holds in its hands, and what they all look up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import lmdb
from sqlalchemy import Connection

from delist import emission
from delist.casework.views import Rules
from delist.errors import UsageError
from delist.model import Case, SuppressionRecord
from delist.settings import AppealSettings
from delist.store import Database, cases, ledger
from indexer.store import Store
from indexer.url import canonical_url, url_key

_MAX_URL = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A record in effect that the owner of its site can be told of.

    Attributes:
        since: since when the address has been away from results, without a break.
    """

    case: Case
    record: SuppressionRecord
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AppealDesk:
    """The open stores, the rules and the settings.

    Attributes:
        secret: that tokens and access codes are hashed with.
        rules: gives what assessing follows now.
    """

    store: Store
    database: Database
    secret: bytes = field(repr=False)
    rules: Callable[[], Rules]
    settings: AppealSettings
    clock: Callable[[], datetime]

    def case_at(self, connection: Connection, txn: lmdb.Transaction, image_url: str) -> Case | None:
        """Find the case of the image that a canonical URL leads to."""
        image = self.store.images.find_by_url(txn, image_url)
        key = url_key(image_url) if image is None else image.key
        return cases.find_by_image(connection, key.hex())

    def told(
        self, connection: Connection, txn: lmdb.Transaction, image_url: str, *, now: datetime
    ) -> Told | None:
        """Find the record in effect for an address that its site's owner can be told of."""
        case = self.case_at(connection, txn, image_url)
        if case is None:
            return None
        records = ledger.of_case(connection, case.id)
        record = emission.effective(records).get(image_url)
        since = emission.hidden_since(records, image_url)
        if record is None or since is None or not self.can_tell(since, now):
            return None
        return Told(case=case, record=record, since=since)

    def can_tell(self, since: datetime, now: datetime) -> bool:
        """Say whether a result has been away for long enough to tell the owner of its site."""
        return now >= since + timedelta(hours=self.settings.statement_delay_hours)


def checked_url(url: str) -> str:
    """Return a URL that a stranger gave in canonical form.

    Raises:
        InvalidUrlError: not an absolute http(s) URL.
        UsageError: too long.
    """
    if len(url) > _MAX_URL:
        raise UsageError(f"--url: at most {_MAX_URL} characters")
    return canonical_url(url)
