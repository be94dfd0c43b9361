"""The bank of known-benign images: people add pictures that no machine may delist.

Hashes only are kept. What the bank changes is found exactly: cases whose image, or whose signal,
lies within the matching threshold of the picture. A picture that is near a confirmed case or a
live signal is a conflict: it is added, the conflict is named, the machine no longer acts on those
cases, and what a person confirmed stays until a person decides anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from delist.casework.benign import near_pictures, rows_of
from delist.errors import UsageError
from delist.model import Verdict
from delist.review import checked_actor, checked_reason
from delist.store import Database, audit, benign, cases, reassessments
from delist.store.benign import BenignImage
from indexer.store import Store

_BATCH = 500
_MOST_LABEL = 200
_MOST_IN_AUDIT = 100

NearSignals = Callable[[bytes], Sequence[str]]
"""Hash rows to the hex keys of the live signals within the matching threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that is to be added.

    Attributes:
        sha256: of its bytes.
        rows: its hash rows, 512 bytes each; at least one.
    """

    sha256: bytes = field(repr=False)
    rows: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What adding or removing a picture came to.

    Attributes:
        id: its number in the bank.
        changed: False when the bank held these bytes already.
        images: keys of the images of cases near it.
        confirmed_cases: ids of those that a person has confirmed: a conflict.
        signals: keys of live signals near it: a conflict too.
    """

    id: int
    changed: bool
    images: Sequence[str] = field(repr=False)
    confirmed_cases: Sequence[str]
    signals: Sequence[str]


def listed(database: Database) -> list[BenignImage]:
    """List the bank, the oldest picture first."""
    with database.read() as connection:
        return benign.every(connection)


class Vouching:
    """Adds pictures to the bank and removes them, with all that follows for cases."""

    def __init__(
        self, store: Store, database: Database, near_signals: NearSignals, *, threshold_bits: int
    ) -> None:
        """Prepare; ``threshold_bits`` is how near an image must come to count as a picture."""
        self._store = store
        self._database = database
        self._near_signals = near_signals
        self._threshold_bits = threshold_bits

    def add(
        self, pictures: Sequence[Picture], *, label: str, actor: str, now: datetime
    ) -> list[Vouched]:
        """Add pictures.

        Args:
            label: what they are, for people, at most 200 characters.

        Raises:
            UsageError: the label is too long, or no name of the actor.
        """
        actor, label = checked_actor(actor), label.strip()
        if len(label) > _MOST_LABEL:
            raise UsageError(f"--label: at most {_MOST_LABEL} characters")
        near = self._looked_ahead([picture.rows for picture in pictures])
        added = []
        with self._database.write() as connection:
            near.look_at(cases.image_keys_after(connection, ""))
            for number, picture in enumerate(pictures):
                sha256 = picture.sha256.hex()
                new = benign.add(
                    connection,
                    image_sha256=sha256,
                    label=label,
                    rows=picture.rows,
                    actor=actor,
                    now=now,
                )
                vouched = Vouched(
                    id=benign.number_of(connection, sha256),
                    changed=new,
                    images=near.images_of(number),
                    confirmed_cases=_confirmed(connection, near.images_of(number)),
                    signals=self._near_signals(picture.rows),
                )
                if new:
                    _follow(connection, vouched, act="benign.added", actor=actor, now=now)
                added.append(vouched)
        return added

    def remove(self, image_id: int, *, actor: str, reason: str, now: datetime) -> Vouched:
        """Remove a picture.

        Raises:
            UsageError: the bank has none of this number, or actor or reason is missing.
        """
        actor, reason = checked_actor(actor), checked_reason(reason)
        with self._database.read() as connection:
            picture = benign.find(connection, image_id)
        if picture is None:
            raise UsageError("the bank holds no picture of this number; see `delist bank list`")
        near = self._looked_ahead([picture.rows])
        with self._database.write() as connection:
            near.look_at(cases.image_keys_after(connection, ""))
            vouched = Vouched(
                id=image_id,
                changed=benign.remove(connection, image_id),
                images=near.images_of(0),
                confirmed_cases=_confirmed(connection, near.images_of(0)),
                signals=self._near_signals(picture.rows),
            )
            _follow(connection, vouched, act="benign.removed", actor=actor, now=now, reason=reason)
        return vouched

    def _looked_ahead(self, pictures: Sequence[bytes]) -> "_Near":
        """Compare with all cases that there are, before a transaction holds up others."""
        near = _Near(self._store, pictures, threshold_bits=self._threshold_bits)
        with self._database.read() as connection:
            near.look_at(cases.image_keys_after(connection, ""))
        return near


class _Near:
    """Finds the images of cases that are near pictures; each image is looked at once."""

    def __init__(self, store: Store, pictures: Sequence[bytes], *, threshold_bits: int) -> None:
        self._store = store
        self._pictures = pictures
        self._threshold_bits = threshold_bits
        self._seen: set[str] = set()
        self._found: dict[int, list[str]] = {}

    def look_at(self, image_keys: Sequence[str]) -> None:
        """Compare images that were not compared yet."""
        keys = [key for key in image_keys if key not in self._seen]
        self._seen.update(keys)
        for start in range(0, len(keys), _BATCH):
            self._compare(keys[start : start + _BATCH])

    def images_of(self, number: int) -> list[str]:
        """List the keys of the images near a picture."""
        return sorted(self._found.get(number, ()))

    def _compare(self, keys: Sequence[str]) -> None:
        rows: list[bytes] = []
        owners: list[int] = []
        with self._store.read() as txn:
            for place, key in enumerate(keys):
                record = self._store.images.find(txn, bytes.fromhex(key))
                held = self._store.images.rows(txn, record) if record is not None else ()
                rows.append(rows_of(held))
                owners += [place] * len(held)
        near = near_pictures(
            b"".join(rows), owners, self._pictures, threshold_bits=self._threshold_bits
        )
        for place, number in near:
            self._found.setdefault(number, []).append(keys[place])


def _confirmed(connection: Connection, image_keys: Sequence[str]) -> list[str]:
    found = (cases.find_by_image(connection, key) for key in image_keys)
    return [case.id for case in found if case is not None and case.verdict is Verdict.NCII]


def _follow(
    connection: Connection,
    vouched: Vouched,
    *,
    act: str,
    actor: str,
    now: datetime,
    reason: str = "",
) -> None:
    """Have the cases looked at again that a picture touches, and put it on record."""
    reassessments.ask_for_images(connection, vouched.images, reason=act, now=now)
    for signal_key in vouched.signals:
        reassessments.ask_for_signal(connection, signal_key, reason=act, now=now)
    detail: dict[str, object] = {
        "confirmed_cases": list(vouched.confirmed_cases[:_MOST_IN_AUDIT]),
        "signals": list(vouched.signals[:_MOST_IN_AUDIT]),
        "images": len(vouched.images),
    }
    if reason:
        detail["reason"] = reason
    audit.append(connection, actor=actor, act=act, subject=str(vouched.id), now=now, detail=detail)
