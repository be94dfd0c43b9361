"""Which stored files have an MD5: what a new signal of a whole file is looked up in.

Database::

    image_files     MD5 of the file, 16 bytes + image key -> nothing
"""

import lmdb

from indexer.model import MD5_BYTES
from indexer.store.environment import Environment


class FileDigests:
    """The MD5s of all stored videos. Every method works inside the caller's transaction."""

    def __init__(self, environment: Environment) -> None:
        self._db = environment.database(b"image_files")

    def replace(self, txn: lmdb.Transaction, image_key: bytes, *, held: bytes, md5: bytes) -> None:
        """Note the MD5 of a file in place of the one that was held; empty means none."""
        if held and held != md5:
            txn.delete(held + image_key, db=self._db)
        if md5:
            txn.put(md5 + image_key, b"", db=self._db)

    def images(self, txn: lmdb.Transaction, md5: bytes) -> list[bytes]:
        """List the keys of the stored files that have an MD5."""
        found = []
        with txn.cursor(db=self._db) as cursor:
            placed = cursor.set_range(md5)
            for key in cursor.iternext(values=False) if placed else ():
                if bytes(key[:MD5_BYTES]) != md5:
                    break
                found.append(bytes(key[MD5_BYTES:]))
        return found

    def after(
        self, txn: lmdb.Transaction, place: bytes, *, most: int
    ) -> list[tuple[bytes, bytes, bytes]]:
        """List up to ``most`` entries behind a place: MD5, image key, and the place of each.

        The first place of all is ``b""``.
        """
        found: list[tuple[bytes, bytes, bytes]] = []
        with txn.cursor(db=self._db) as cursor:
            placed = cursor.set_range(place + b"\0" if place else b"")
            for key in cursor.iternext(values=False) if placed else ():
                if len(found) == most:
                    break
                whole = bytes(key)
                found.append((whole[:MD5_BYTES], whole[MD5_BYTES:], whole))
        return found
