"""Undoing Content-Encoding piece by piece, so that a body is never held whole.

Scrapy undoes it too, of whole bodies; what is digested as it comes in passes here instead.
Pieces are small, whatever a bomb unpacks to, and end where the caller's limit does.
"""

import binascii
import sys
import zlib
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from crawler.errors import RefusedError
from crawler.links import DATA_IMAGE

PIECE_BYTES = 64 * 1024
"""Most bytes of one piece, about."""

BAD_ENCODING = "bad_encoding"


class Decoder(Protocol):
    """Undoes one encoding of one body."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes unpack to.

        Raises:
            RefusedError: ``bad_encoding``.
        """

    def check_end(self) -> None:
        """Check that the body did not end too early.

        Raises:
            RefusedError: ``bad_encoding``.
        """


class _Zlib:
    """gzip, with any number of members, and deflate with or without its header."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: Any = zlib.decompressobj(zlib.MAX_WBITS | 16 if is_gzip else zlib.MAX_WBITS)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        more = True
        while data or more:
            if self._stream.eof:
                if not data or not self._is_gzip or not data.startswith(b"\x1f"):
                    return  # padding behind the last member
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error:
                if self._started or self._is_gzip:
                    raise RefusedError(BAD_ENCODING) from None
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)  # as some servers send it
                self._started = True
                continue
            self._started = True
            more = len(piece) >= PIECE_BYTES  # it may hold more, though it has read all
            data = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece

    def check_end(self) -> None:
        if not self._stream.eof:
            raise RefusedError(BAD_ENCODING)


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            piece = self._stream.process(data, output_buffer_limit=PIECE_BYTES)
            while piece:
                yield piece
                piece = self._stream.process(b"", output_buffer_limit=PIECE_BYTES)
        except brotli.error:
            raise RefusedError(BAD_ENCODING) from None

    def check_end(self) -> None:
        if not self._stream.is_finished():
            raise RefusedError(BAD_ENCODING)


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data or not (self._stream.eof or self._stream.needs_input):
                if self._stream.eof:
                    self._stream = zstd.ZstdDecompressor()
                piece = self._stream.decompress(data, PIECE_BYTES)
                data = self._stream.unused_data if self._stream.eof else b""
                if piece:
                    yield piece
        except zstd.ZstdError:
            raise RefusedError(BAD_ENCODING) from None

    def check_end(self) -> None:
        if not self._stream.eof:
            raise RefusedError(BAD_ENCODING)


class Decoding:
    """Undoes all encodings of one body, the last that was applied first."""

    def __init__(self, encodings: Sequence[str]) -> None:
        """Prepare for the words of Content-Encoding, in their order.

        Raises:
            RefusedError: ``bad_encoding``: one is not known.
        """
        self._decoders = [_decoder(word) for word in reversed(encodings)]

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Yield what the next bytes of the body unpack to.

        Raises:
            RefusedError: ``bad_encoding``.
        """
        pieces: Iterable[bytes] = (data,)
        for decoder in self._decoders:
            pieces = _through(decoder, pieces)
        return pieces

    def check_end(self) -> None:
        """Check that the body, now at its end, did not end too early.

        Raises:
            RefusedError: ``bad_encoding``.
        """
        for decoder in self._decoders:
            decoder.check_end()


def read_encodings(headers: Iterable[bytes]) -> list[str]:
    """Read the words of Content-Encoding headers."""
    words = b",".join(headers).decode("latin-1").lower().split(",")
    return [word.strip() for word in words if word.strip() not in {"", "identity"}]


def decode_data_url(url: str, *, max_bytes: int) -> bytes:
    """Decode a ``data:`` URL (RFC 2397); white space inside base64 is skipped.

    Raises:
        RefusedError: ``too_many_bytes`` or ``bad_encoding``.
    """
    head, comma, data = url[len(DATA_IMAGE) :].partition(",")
    if not comma:
        raise RefusedError("bad_encoding")
    if len(data) > 4 * max_bytes:
        raise RefusedError("too_many_bytes")
    body = unquote_to_bytes(data)
    if head.rpartition(";")[2].strip().lower() == "base64":
        packed = b"".join(body.split())
        try:
            body = b64decode(packed + b"=" * (-len(packed) % 4))
        except binascii.Error:
            raise RefusedError("bad_encoding") from None
    if len(body) > max_bytes:
        raise RefusedError("too_many_bytes")
    return body


def _through(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder.feed(piece)


def _decoder(word: str) -> Decoder:
    if word in {"gzip", "x-gzip"}:
        return _Zlib(is_gzip=True)
    if word == "deflate":
        return _Zlib(is_gzip=False)
    if word == "br":
        return _Brotli()
    if word == "zstd":
        return _Zstd()
    raise RefusedError(BAD_ENCODING)
