"""Marks of origin in a file: IPTC's digital source type, and that there are C2PA credentials.

Short constants, nothing of the file's own words. Nothing is trusted and no signature is checked:
whoever writes a file writes its marks, and most sites strip them. They are for a person to
weigh, and the policy may let them speak against acting alone, never for it.

Where marks stand, by format, in bytes that decoders skip:

(1) JPEG: XMP in APP1 segments, JUMBF boxes in APP11 segments.
(2) PNG: XMP in an ``iTXt`` chunk, JUMBF in ``caBX``.
(3) WebP: chunks ``XMP`` and ``C2PA``.
(4) ISO media (AVIF, HEIC, MP4): a ``uuid`` box of C2PA; XMP lies in an item that only a whole
    parser finds, so the beginning of the file is searched, as in all other formats.

Bounded: at most so many parts and so many bytes are looked at, whatever the file says of itself.
A source type inside C2PA's own assertions counts too: there it is the same address, in CBOR.
"""

import re
from collections.abc import Iterator

C2PA = "c2pa"
IPTC = "iptc:"
SOURCE_TYPES = frozenset(
    {
        "algorithmicMedia",
        "algorithmicallyEnhanced",
        "composite",
        "compositeCapture",
        "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia",
        "computationalCapture",
        "dataDrivenMedia",
        "digitalArt",
        "digitalCapture",
        "digitalCreation",
        "humanEdits",
        "minorHumanEdits",
        "negativeFilm",
        "positiveFilm",
        "print",
        "screenCapture",
        "softwareImage",
        "trainedAlgorithmicMedia",
        "virtualRecording",
    }
)
"""IPTC's codes, the retired ones too. https://cv.iptc.org/newscodes/digitalsourcetype/"""

MOST_PARTS = 500
MOST_BYTES = 1024 * 1024
_MOST_TYPES = 16
_VOCABULARY = b"cv.iptc.org/newscodes/digitalsourcetype/"
_PROPERTY = b"igitalSourceType"
_BEFORE = 96
"""Bytes from the property's name to the address: an attribute, an element or CBOR."""
_CODE = re.compile(rb"[A-Za-z]{1,40}")
_XMP_SEGMENTS = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
_JUMBF_SUPERBOX, _JUMBF_DESCRIPTION = b"jumb", b"jumd"
_C2PA_STORE = bytes.fromhex("6332706100110010800000aa00389b71")
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_APP1, _APP11, _SCAN, _END = 0xE1, 0xEB, 0xDA, 0xD9

_Part = tuple[bool, int, int]
"""Whether it is C2PA's, and where it begins and ends."""


def marks_of(data: bytes) -> tuple[str, ...]:
    """Name the marks of origin in the encoded bytes of an image or a video.

    Never raises; takes at most a few milliseconds.

    Returns:
        ``c2pa`` where there are content credentials, then ``iptc:`` and a code of IPTC's for
        each source type that is named, sorted.
    """
    marks: set[str] = set()
    left = MOST_BYTES
    for is_c2pa, start, stop in _parts(data):
        if is_c2pa:
            marks.add(C2PA)
        end = min(stop, len(data), start + left)
        left -= max(0, end - start)
        marks.update(_source_types(data, start, end))
        if left <= 0:
            break
    return tuple(sorted(marks))


def _parts(data: bytes) -> Iterator[_Part]:
    """Find the parts of a file in which marks can stand."""
    if data.startswith(_JPEG):
        yield from _jpeg_parts(data)
    elif data.startswith(_PNG):
        yield from _png_parts(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _webp_parts(data)
    else:
        if data[4:8] == b"ftyp":
            yield from _box_parts(data)
        yield False, 0, len(data)


def _jpeg_parts(data: bytes) -> Iterator[_Part]:  # (1)
    at = 2
    for _ in range(MOST_PARTS):
        if at + 4 > len(data) or data[at] != 0xFF:  # noqa: PLR2004 - begins every marker
            return
        marker = data[at + 1]
        if marker in {_SCAN, _END}:
            return
        if marker == 0xFF:  # noqa: PLR2004 - filling before a marker
            at += 1
            continue
        start, end = at + 4, at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == _APP1 and data.startswith(_XMP_SEGMENTS, start):
            yield False, start, end
        elif marker == _APP11 and data[start : start + 2] == b"JP":
            # "JP", number of the box, number of the packet; later packets repeat its header.
            yield _is_c2pa_store(data, start + 8), start, end
        at = max(end, at + 2)


def _png_parts(data: bytes) -> Iterator[_Part]:  # (2)
    at = len(_PNG)
    for _ in range(MOST_PARTS):
        name, start = data[at + 4 : at + 8], at + 8
        if len(name) < 4 or name == b"IEND":  # noqa: PLR2004 - a whole name
            return
        end = start + int.from_bytes(data[at : at + 4])
        if name == b"caBX":
            yield _is_c2pa_store(data, start), start, end
        elif name == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0", start):
            yield False, start, end
        at = end + 4


def _webp_parts(data: bytes) -> Iterator[_Part]:  # (3)
    at = 12
    for _ in range(MOST_PARTS):
        name, start = data[at : at + 4], at + 8
        if start > len(data):
            return
        end = start + int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"C2PA":
            yield _is_c2pa_store(data, start), start, end
        elif name == b"XMP ":
            yield False, start, end
        at = end + (end & 1)


def _box_parts(data: bytes) -> Iterator[_Part]:  # (4)
    at = 0
    for _ in range(MOST_PARTS):
        size, name, start = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
        if len(name) < 4:  # noqa: PLR2004 - a whole name
            return
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16]), at + 16
        end = len(data) if size == 0 else at + size
        if name == b"uuid" and data.startswith(_C2PA_BOX, start):
            yield True, start, end
        if end <= start:
            return
        at = end


def _is_c2pa_store(data: bytes, at: int) -> bool:
    """Whether a JUMBF superbox begins here, and says that it is C2PA's manifest store."""
    return (
        data[at + 4 : at + 8] == _JUMBF_SUPERBOX
        and data[at + 12 : at + 16] == _JUMBF_DESCRIPTION
        and data[at + 16 : at + 32] == _C2PA_STORE
    )


def _source_types(data: bytes, start: int, end: int) -> Iterator[str]:
    """Find codes of IPTC's that stand as a digital source type."""
    at = start
    for _ in range(_MOST_TYPES):
        at = data.find(_VOCABULARY, at, end)
        if at < 0:
            return
        before = max(start, at - _BEFORE)
        at += len(_VOCABULARY)
        code = _CODE.match(data, at, end)
        if code is None or data.find(_PROPERTY, before, at) < 0:
            continue
        if (name := code[0].decode("ascii")) in SOURCE_TYPES:
            yield IPTC + name
