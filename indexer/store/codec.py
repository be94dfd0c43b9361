"""How records are written as bytes.

Layout, version 1: one byte with the version, then a MessagePack array of the
record's fields in the order of their declaration. A field is only ever added
together with a new version.
"""

import types
import typing
from dataclasses import fields
from typing import Any, Generic, TypeVar, cast

import msgspec

from indexer.errors import StoreDamagedError

T = TypeVar("T")
_VERSION = 1


class RecordCodec(Generic[T]):
    """Writes and reads one kind of keyword-only dataclass."""

    def __init__(self, cls: type[T]) -> None:
        hints = typing.get_type_hints(cls)
        self._cls = cls
        self._names = [entry.name for entry in fields(cast("Any", cls))]
        stored: Any = types.GenericAlias(tuple, tuple(hints[name] for name in self._names))
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(stored)
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, record: T) -> bytes:
        """Write a record."""
        values = [getattr(record, name) for name in self._names]
        return bytes((_VERSION,)) + self._encoder.encode(values)

    def decode(self, raw: bytes | memoryview) -> T:
        """Read a record.

        Raises:
            StoreDamagedError: another version, or bytes that break the layout.
        """
        if not raw or raw[0] != _VERSION:
            raise StoreDamagedError(f"a stored {self._cls.__name__} has an unknown layout")
        try:
            values = self._decoder.decode(memoryview(raw)[1:])
        except msgspec.MsgspecError:
            raise StoreDamagedError(f"a stored {self._cls.__name__} cannot be read") from None
        return self._cls(**dict(zip(self._names, values, strict=True)))
