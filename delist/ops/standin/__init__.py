"""A stand-in of the StopNCII hash exchange on loopback, faithful and able to misbehave.

Nothing here was checked against the live service: it does what Meta's public client and
its fixtures show (``tests/integration`` runs that client against it), with every trap they
contain. Standard library only.
"""

from delist.ops.standin.faults import PASSING, Fault, FaultKind, Faults, answer_with
from delist.ops.standin.odd import (
    Record,
    make_case,
    make_digest,
    make_record,
    make_records,
    name_odd_records,
    odd_records,
)
from delist.ops.standin.server import SeenRequest, StopNciiStandIn

__all__ = [
    "PASSING",
    "Fault",
    "FaultKind",
    "Faults",
    "Record",
    "SeenRequest",
    "StopNciiStandIn",
    "answer_with",
    "make_case",
    "make_digest",
    "make_record",
    "make_records",
    "name_odd_records",
    "odd_records",
]
