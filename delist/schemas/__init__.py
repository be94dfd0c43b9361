"""JSON Schemas (draft 2020-12) of what others read from us, one file for each version."""

from importlib.resources import files

RECORD = "suppression-record-1.json"
"""Of a line of ``delist suppressions export``."""

INSTRUCTION = "instruction-1.json"
"""Of what consumers are told of a record (``delist.consumers.document``)."""


def load(name: str) -> str:
    """Read a schema, as JSON."""
    return (files(__name__) / name).read_text(encoding="utf-8")
