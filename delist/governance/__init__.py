"""The rules in people's hands: policies, brakes, the bank of known-benign images."""

from delist.governance.desk import Governance

__all__ = [
    "Governance",
]
