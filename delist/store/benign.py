"""The bank of known-benign images: hashes only, and who added them."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from delist.store.tables import benign_images


@dataclass(frozen=True, slots=True, kw_only=True)
class BenignImage:
    """One image of the bank.

    Attributes:
        rows: its hash rows, 512 bytes each, as of ``HashedImage.rows``.
    """

    id: int
    image_sha256: str = field(repr=False)
    label: str
    rows: bytes = field(repr=False)
    added_by: str
    added_at: datetime


def add(
    connection: Connection,
    *,
    image_sha256: str,
    label: str,
    rows: bytes,
    actor: str,
    now: datetime,
) -> bool:
    """Add an image; False when the bank holds its bytes already."""
    held = select(benign_images.c.id).where(benign_images.c.image_sha256 == image_sha256)
    if connection.execute(held).first() is not None:
        return False
    connection.execute(
        insert(benign_images).values(
            image_sha256=image_sha256, label=label, rows=rows, added_by=actor, added_at=now
        )
    )
    return True


def number_of(connection: Connection, image_sha256: str) -> int:
    """Return the number of an image that the bank holds."""
    held = select(benign_images.c.id).where(benign_images.c.image_sha256 == image_sha256)
    return int(connection.execute(held).scalar_one())


def find(connection: Connection, image_id: int) -> BenignImage | None:
    """Find an image by its number."""
    found = connection.execute(select(benign_images).where(benign_images.c.id == image_id)).first()
    return None if found is None else BenignImage(**found._mapping)  # noqa: SLF001


def remove(connection: Connection, image_id: int) -> bool:
    """Remove an image; False when there is none of that number."""
    done = connection.execute(delete(benign_images).where(benign_images.c.id == image_id))
    return bool(done.rowcount)


def every(connection: Connection) -> list[BenignImage]:
    """Load the whole bank, the oldest first."""
    found = connection.execute(select(benign_images).order_by(benign_images.c.id))
    return [BenignImage(**row._mapping) for row in found]  # noqa: SLF001 - SQLAlchemy's public name for it


def state(connection: Connection) -> tuple[object, ...]:
    """Return what changes with the bank: how many there are, and the newest one.

    Its number alone would not do: a database may give that of a removed one again.
    """
    columns = benign_images.c
    count = connection.scalar(select(func.count()).select_from(benign_images))
    newest = connection.execute(
        select(columns.id, columns.added_at, columns.image_sha256)
        .order_by(columns.id.desc())
        .limit(1)
    ).first()
    return (count, *(newest or ()))
