"""What can go wrong in delisting.

``str(error)`` never holds a digest, a page URL or a case reference, so every
message here is safe to log and to show.

::

    DelistError
    ├── UsageError              what was asked makes no sense; nothing was done
    │   ├── FormError           fields of a form are not as they should be: names them
    │   └── TriesUsedError      this can be tried no more
    ├── PolicyError             the policy file is wrong; the policy in force stays
    ├── UnknownCaseError        no review case has this id
    ├── UnknownCaseRefError     no feed names this case reference
    ├── UnknownAppealError      no appeal has this id, or its time to be proved is over
    ├── UnknownReportError      no direct report has this id
    ├── UnknownRecordError      nothing that can be told of concerns this address
    ├── UnknownConsumerError    nobody of this name follows the ledger
    ├── SinkError               a sink cannot be reached, or does not do what it should
    ├── QuotaError              too much was asked for in a time; nothing was done
    ├── AccessError             case reference and access code do not fit together
    ├── SignOnError             who somebody is could not be shown
    │   ├── SignOnRefusedError  name, password or code is wrong; never says which
    │   ├── SignOnDelayedError  too many tries; nothing was looked at
    │   └── ProviderError       the organisation's sign-on does not answer as it should
    ├── BusyError               too many at once; it may work in a while
    ├── FetchError              an address gave no answer that can be used
    ├── ProofError              control of a site could not be proved
    ├── ReportError             a report cannot be written in this form here
    ├── LedgerError             the ledger is not what was written
    ├── LogProofError           a key, checkpoint or proof is not one, or does not hold
    ├── BackupError             a backup cannot be written, read or put back
    │   ├── BackupDamagedError  the archive is not what was written
    │   ├── BackupKeyError      the archive is sealed with another key, or with none
    │   ├── BackupVersionError  another version of the program wrote it
    │   └── BackupStoppedError  it was to end before it was whole; no file is left
    ├── RescanError             a re-scan of files cannot begin or go on
    │   ├── TableRefusedError   a file of hashes is not as it has to be
    │   ├── WorkerRefusedError  a worker cannot take part in the run
    │   └── SealedFileError     a file of the run is missing or not what was written
    ├── RestoredError           put back from a backup; what ended since is not known yet
    └── DatabaseError           the SQL store cannot be used
        ├── UnreadableReportError  what one report says cannot be opened
        ├── LeaseLostError      another process does the periodic work now
        └── DatabaseVersionError  it was written by a newer version of the program
"""

from collections.abc import Mapping


class DelistError(Exception):
    """Base of everything delisting raises on purpose."""


class UsageError(DelistError):
    """What was asked makes no sense; nothing was done."""


class FormError(UsageError):
    """Fields of a form are not as they should be; nothing was done.

    Attributes:
        wrong: what is wrong with each, as constants; never what stands in them.
    """

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__("not as they should be: " + ", ".join(sorted(wrong)))
        self.wrong = dict(wrong)


class TriesUsedError(UsageError):
    """This can be tried no more."""


class PolicyError(DelistError):
    """The policy file is wrong: names the key and what it should be."""


class PolicyChangedError(DelistError):
    """Another policy was put in force meanwhile; nothing was done."""

    def __init__(self) -> None:
        super().__init__("another policy has just been put in force; try again")


class UnknownCaseError(DelistError):
    """No review case has this id."""


class UnknownCaseRefError(DelistError):
    """No feed names this case reference."""


class UnknownAppealError(DelistError):
    """No appeal has this id, or its time to be proved is over."""


class UnknownReportError(DelistError):
    """No direct report has this id."""


class UnknownRecordError(DelistError):
    """No record that can be told of concerns this address; the same while it is too new."""


class UnknownConsumerError(DelistError):
    """Nobody of this name follows the ledger, or not in this way."""


class SinkError(DelistError):
    """A sink cannot be reached now, or does not do what it should; nothing is lost.

    Attributes:
        code: what is wrong, as a constant that may be logged and stored.
        retry_after_s: how long the sink asked to be left alone, if it did.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class SinkRefusalError(SinkError):
    """A sink does not take what it was given, and would take something else."""


class QuotaError(DelistError):
    """Too much was asked for in a time; nothing was done."""


class AccessError(DelistError):
    """Case reference and access code do not fit together; never says which is wrong."""


class SignOnError(DelistError):
    """Who somebody is could not be shown."""


class SignOnRefusedError(SignOnError):
    """Name, password or code is wrong, or the account is disabled; never says which."""

    def __init__(self) -> None:
        super().__init__("name, password or code is wrong")


class SignOnDelayedError(SignOnError):
    """Too many tries; nothing was looked at.

    Attributes:
        retry_s: seconds to wait.
    """

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"too many tries; wait {retry_s} s")
        self.retry_s = retry_s


class ProviderError(SignOnError):
    """The organisation's sign-on cannot be reached, or does not answer as it should.

    Attributes:
        code: what is wrong, as a constant that may be logged.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the organisation's sign-on cannot be used: {code}")
        self.code = code


class BusyError(DelistError):
    """Too many at once; it may work in a while."""


class FetchError(DelistError):
    """An address gave no answer that can be used: says why, never names the address."""


class ProofError(DelistError):
    """Control of a site could not be proved: names what was met, never an address."""


class ReportError(DelistError):
    """A report cannot be written in this form on this machine: names what is missing."""


class LedgerError(DelistError):
    """The ledger is not what was written: an edit, a gap or a changed order."""


class LogProofError(DelistError):
    """A key, checkpoint, cosignature or proof is not one, or does not hold."""


class BackupError(DelistError):
    """A backup cannot be written, read or put back."""


class BackupDamagedError(BackupError):
    """The archive is not what was written: cut, altered, reordered, or of another program."""


class BackupKeyError(BackupError):
    """The archive is sealed with another key, or the key is missing or not needed."""


class BackupVersionError(BackupError):
    """Another version of the program wrote the archive. Nothing was written."""


class BackupStoppedError(BackupError):
    """The backup was to end before it was whole; no file is left."""


class RescanError(DelistError):
    """A re-scan of files cannot begin or go on; what was done of it counts."""


class TableRefusedError(RescanError):
    """A file of hashes is not as it has to be; nothing of it was compared.

    Attributes:
        code: what is wrong, as a constant, for counters.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class WorkerRefusedError(RescanError):
    """A worker cannot take part in a run; another may.

    Attributes:
        code: why, as a constant, for counters.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SealedFileError(RescanError):
    """A file of a run is missing, damaged, or another one than was written.

    Attributes:
        code: ``missing``, ``unreadable`` or ``damaged``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RestoredError(DelistError):
    """The store was put back from a backup, and what ended since is not known yet.

    Deciding on it could take a withdrawn signal for one in force.
    """


class DatabaseError(DelistError):
    """The SQL store cannot be used."""


class UnreadableReportError(DatabaseError):
    """What one direct report says cannot be opened; others can."""


class LeaseLostError(DatabaseError):
    """Another process does the periodic work now: this one writes nothing more."""


class DatabaseVersionError(DatabaseError):
    """The SQL store was written by a newer version of the program. Nothing was touched."""
