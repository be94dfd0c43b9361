"""How records are written as bytes.

Layout: one byte with the version, then a MessagePack array of the record's fields
in the order of their declaration. A field is only ever added, and only together
with a new version of its record: it is declared with ``since(2, default)``, and a
record of an earlier version is read with the default. A record is always written
in its newest version, which is 1 unless a field says otherwise.
"""

import types
import typing
from dataclasses import fields
from typing import Any, Generic, TypeVar, cast

import msgspec

from indexer.errors import StoreDamagedError
from indexer.model import SINCE

T = TypeVar("T")
_FIRST = 1


class RecordCodec(Generic[T]):
    """Writes and reads one kind of keyword-only dataclass."""

    def __init__(self, cls: type[T]) -> None:
        hints = typing.get_type_hints(cls)
        versions = {
            entry.name: int(entry.metadata.get(SINCE, _FIRST)) for entry in fields(cast("Any", cls))
        }
        self._cls = cls
        self._names = list(versions)
        self._version = max(versions.values(), default=_FIRST)
        self._encoder = msgspec.msgpack.Encoder()
        self._layouts: dict[int, tuple[list[str], msgspec.msgpack.Decoder[Any]]] = {}
        for version in range(_FIRST, self._version + 1):
            names = [name for name in self._names if versions[name] <= version]
            stored: Any = types.GenericAlias(tuple, tuple(hints[name] for name in names))
            self._layouts[version] = (names, msgspec.msgpack.Decoder(stored))

    def encode(self, record: T) -> bytes:
        """Write a record."""
        values = [getattr(record, name) for name in self._names]
        return bytes((self._version,)) + self._encoder.encode(values)

    def decode(self, raw: bytes | memoryview) -> T:
        """Read a record of this version or an earlier one.

        Raises:
            StoreDamagedError: another version, or bytes that break the layout.
        """
        layout = self._layouts.get(raw[0]) if raw else None
        if layout is None:
            raise StoreDamagedError(f"a stored {self._cls.__name__} has an unknown layout")
        names, decoder = layout
        try:
            values = decoder.decode(memoryview(raw)[1:])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise StoreDamagedError(f"a stored {self._cls.__name__} cannot be read") from None
        return self._cls(**dict(zip(names, values, strict=True)))
