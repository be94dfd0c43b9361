"""Access codes: issued by an operator to whoever knows the survivor, checked for each report.

A code is 100 random bits, written so that it can be read out on the telephone. Only
its keyed hash is stored; a new code replaces the old one.
"""

import hmac
import secrets
from datetime import datetime
from hashlib import blake2b

from delist.errors import UnknownCaseRefError
from delist.store import Database, codes
from indexer.store import Store

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's Base 32: no I, L, O or U, so that nothing is misread."""
_GROUPS, _GROUP_CHARACTERS = 5, 4
_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


def issue_code(
    store: Store, database: Database, secret: bytes, case_ref: str, *, now: datetime
) -> str:
    """Issue a new access code for a case reference; the code is shown this once.

    Raises:
        UnknownCaseRefError: no feed names this case reference.
    """
    with store.read() as txn:
        if not store.signals.signals_of_case(txn, case_ref):
            raise UnknownCaseRefError(
                "no feed names this case reference; check it, and sync the feed"
            )
    characters = "".join(secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP_CHARACTERS))
    case_key = store.signals.case_key(case_ref).hex()
    with database.write() as connection:
        code_hash = _hash(secret, case_key, characters)
        codes.put(connection, case_key=case_key, code_hash=code_hash, now=now)
    starts = range(0, len(characters), _GROUP_CHARACTERS)
    return "-".join(characters[start : start + _GROUP_CHARACTERS] for start in starts)


def is_valid(
    store: Store, database: Database, secret: bytes, case_ref: str, code: str | None
) -> bool:
    """Say whether a code opens a case reference. Case, blanks and dashes do not matter."""
    case_key = store.signals.case_key(case_ref).hex()
    with database.read() as connection:
        held = codes.find(connection, case_key)
    offered = _hash(secret, case_key, (code or "").upper().translate(_MISREAD))
    # Compared even when there is no code, so that the answer takes as long.
    return hmac.compare_digest(held or "-" * len(offered), offered)


def _hash(secret: bytes, case_key: str, code: str) -> str:
    # What was typed need not be text: bytes that are no UTF-8 come as surrogates.
    offered = f"{case_key}\0{code}".encode("utf-8", "surrogatepass")
    return blake2b(offered, key=secret, digest_size=32).hexdigest()
