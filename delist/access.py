"""Access codes: issued by an operator to whoever knows the survivor, checked for each report.

A code is 100 random bits, written so that it can be read out on the telephone. Only
its keyed hash is stored; a new code replaces the old one. Case references that we give ourselves,
to people who report to us directly, are written in the same way: 60 random bits, so that whoever
has an image cannot guess the reference that goes with it.
"""

import hmac
import re
import secrets
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import Connection

from delist.errors import UnknownCaseRefError
from delist.store import Database, codes
from indexer.store import Store

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's Base 32: no I, L, O or U, so that nothing is misread."""
_GROUPS, _GROUP_CHARACTERS = 5, 4
_MISREAD = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})
_OURS = "R"
"""Begins references of ours: a word that is none of the alphabet's would be misread."""
_REFERENCE = re.compile(rf"{_OURS}(?:-?[{_ALPHABET}]{{{_GROUP_CHARACTERS}}}){{3}}")


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
    code = new_code()
    case_key = store.signals.case_key(case_ref).hex()
    with database.write() as connection:
        put_code(connection, secret, case_key, code, now=now)
    return code


def new_code() -> str:
    """Make an access code."""
    return _grouped(_GROUPS)


def new_reference(*, groups: int) -> str:
    """Make a case reference of ours, of 20 random bits a group."""
    return f"{_OURS}-{_grouped(groups)}"


def put_code(
    connection: Connection, secret: bytes, case_key: str, code: str, *, now: datetime
) -> None:
    """Let a code open a case from now on, and no other, inside the caller's transaction."""
    code_hash = _hash(secret, case_key, code.translate(_MISREAD))
    codes.put(connection, case_key=case_key, code_hash=code_hash, now=now)


def as_written(reference: str) -> str:
    """Return a case reference as it was given out: ours may be typed in any way that reads so."""
    reference = reference.strip()
    signs = reference.upper().translate(_MISREAD)
    if not _REFERENCE.fullmatch(signs):
        return reference
    starts = range(1, len(signs), _GROUP_CHARACTERS)
    return "-".join([_OURS, *(signs[start : start + _GROUP_CHARACTERS] for start in starts)])


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


def _grouped(groups: int) -> str:
    characters = "".join(secrets.choice(_ALPHABET) for _ in range(groups * _GROUP_CHARACTERS))
    starts = range(0, len(characters), _GROUP_CHARACTERS)
    return "-".join(characters[start : start + _GROUP_CHARACTERS] for start in starts)


def _hash(secret: bytes, case_key: str, code: str) -> str:
    # What was typed need not be text: bytes that are no UTF-8 come as surrogates.
    offered = f"{case_key}\0{code}".encode("utf-8", "surrogatepass")
    return blake2b(offered, key=secret, digest_size=32).hexdigest()
