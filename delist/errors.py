"""What can go wrong in delisting.

``str(error)`` never holds a digest, a page URL or a case reference, so every
message here is safe to log and to show.

::

    DelistError
    ├── UsageError              what was asked makes no sense; nothing was done
    ├── PolicyError             the policy file is wrong; the policy in force stays
    ├── UnknownCaseError        no review case has this id
    ├── UnknownCaseRefError     no feed names this case reference
    ├── LedgerError             the ledger is not what was written
    └── DatabaseError           the SQL store cannot be used
        └── DatabaseVersionError  it was written by a newer version of the program
"""


class DelistError(Exception):
    """Base of everything delisting raises on purpose."""


class UsageError(DelistError):
    """What was asked makes no sense; nothing was done."""


class PolicyError(DelistError):
    """The policy file is wrong: names the key and what it should be."""


class UnknownCaseError(DelistError):
    """No review case has this id."""


class UnknownCaseRefError(DelistError):
    """No feed names this case reference."""


class LedgerError(DelistError):
    """The ledger is not what was written: an edit, a gap or a changed order."""


class DatabaseError(DelistError):
    """The SQL store cannot be used."""


class DatabaseVersionError(DatabaseError):
    """The SQL store was written by a newer version of the program. Nothing was touched."""
