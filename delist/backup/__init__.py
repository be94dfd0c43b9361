"""Copies of both stores and the secrets at one point, sealed in one file (ADR 0041).

``sealing`` is chunks of ciphertext, ``archive`` the members inside, ``tables`` the SQL store as
members, ``taking``, ``checking`` and ``restoring`` what people and jobs do with them, and
``restored`` what a store that was put back may not do yet.
"""

from delist.backup.archive import Manifest
from delist.backup.checking import CheckedBackup, check
from delist.backup.keys import make_key, read_key
from delist.backup.restoring import RestoreReport, restore
from delist.backup.taking import BackupReport, Backups

__all__ = [
    "BackupReport",
    "Backups",
    "CheckedBackup",
    "Manifest",
    "RestoreReport",
    "check",
    "make_key",
    "read_key",
    "restore",
]
