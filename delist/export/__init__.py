"""What is stored, as tables for other engines on this machine (ADR 0046).

``images`` are digests and addresses, ``matches`` keys and distances, ``suppressions`` the ledger's
instructions. None holds a case reference. ``writing`` puts whole folders in place or nothing.
Whoever exports is put on the audit log.
"""

from delist.export.exporting import IMAGES, MATCHES, SUPPRESSIONS, ExportReport, Exports

__all__ = ["IMAGES", "MATCHES", "SUPPRESSIONS", "ExportReport", "Exports"]
