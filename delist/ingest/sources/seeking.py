"""Where records of an archive begin: for going on at one, and for passing over damage."""

import os
import re
import zlib
from typing import BinaryIO

_WORD = b"WARC/"
_GZIP = b"\x1f\x8b\x08"
_PLAIN = re.compile(rb"(?<=\n)WARC/[01]\.[0-9]{1,2}\r?\n")
_BLOCK_BYTES = 1024 * 1024
_OVERLAP_BYTES = 64
_PROBE_BYTES = 4096


def begins_at(file: BinaryIO, offset: int, *, is_packed: bool) -> bool:
    """Say whether reading can begin at a byte; where the file stands is not changed."""
    found = os.pread(file.fileno(), len(_WORD), offset)
    return found.startswith(_GZIP) if is_packed else found == _WORD


def next_start(file: BinaryIO, offset: int, *, is_packed: bool) -> int | None:
    """Find the next byte from ``offset`` on at which a record begins; None: there is none."""
    pattern = re.compile(re.escape(_GZIP)) if is_packed else _PLAIN
    start = max(0, offset - (0 if is_packed else 1))
    while True:
        file.seek(start)
        block = file.read(_BLOCK_BYTES + _OVERLAP_BYTES)
        for hit in pattern.finditer(block):
            at = start + hit.start()
            if hit.start() < _BLOCK_BYTES and (not is_packed or _unpacks_to_record(file, at)):
                return at
        if len(block) <= _BLOCK_BYTES:
            return None
        start += _BLOCK_BYTES


def _unpacks_to_record(file: BinaryIO, offset: int) -> bool:
    file.seek(offset)
    try:
        start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(
            file.read(_PROBE_BYTES), len(_WORD)
        )
    except zlib.error:
        return False
    return start == _WORD
