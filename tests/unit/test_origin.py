"""Marks of origin: found where the formats put them, and nowhere trusted or slow."""

import struct
import time
import zlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delist.ops.pictures import draw_photo, encode
from indexer.hashing import hash_image
from indexer.hashing.origin import MOST_BYTES, MOST_PARTS, SOURCE_TYPES, marks_of

MIB = 1024 * 1024
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE_UP, CAMERA = "trainedAlgorithmicMedia", "digitalCapture"
C2PA_STORE = bytes.fromhex("6332706100110010800000aa00389b71")
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def xmp(code: str, *, form: str = "attribute", scheme: str = "http") -> bytes:
    value = VOCABULARY.replace("http", scheme) + code
    inside = {
        "attribute": f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{value}"/>',
        "element": "<rdf:Description><Iptc4xmpExt:DigitalSourceType>\n  "
        f"{value}\n</Iptc4xmpExt:DigitalSourceType></rdf:Description>",
        "resource": f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{value}"/>',
    }[form]
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{inside}</rdf:RDF></x:xmpmeta>'.encode()


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def jumbf(store: bytes = C2PA_STORE, inside: bytes = b"") -> bytes:
    return box(b"jumb", box(b"jumd", store + b"\x03c2pa\0") + inside)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", 2 + len(body)) + body


@cache
def drawn(kind: str) -> bytes:
    return encode(draw_photo(3), kind)


def jpeg(*segments: bytes) -> bytes:
    picture = drawn("JPEG")
    return picture[:2] + b"".join(segments) + picture[2:]


def in_app1(packet: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def in_app11(boxes: bytes) -> bytes:
    return segment(0xEB, b"JP" + struct.pack(">HI", 1, 1) + boxes)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks: bytes) -> bytes:
    picture = drawn("PNG")
    return picture[:33] + b"".join(chunks) + picture[33:]


def in_itxt(packet: bytes) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack("<4sI", name, len(b)) + b + b"\0" * (len(b) & 1) for name, b in chunks]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def media(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + b"".join(boxes)


IPTC_MADE_UP = (f"iptc:{MADE_UP}",)
FILES = {
    "jpeg xmp": (jpeg(in_app1(xmp(MADE_UP))), IPTC_MADE_UP),
    "jpeg xmp behind Exif": (jpeg(segment(0xE1, b"Exif\0\0"), in_app1(xmp(MADE_UP))), IPTC_MADE_UP),
    "jpeg c2pa": (jpeg(in_app11(jumbf())), ("c2pa",)),
    "jpeg both": (jpeg(in_app1(xmp(CAMERA)), in_app11(jumbf())), ("c2pa", f"iptc:{CAMERA}")),
    "jpeg c2pa says how": (
        jpeg(in_app11(jumbf(inside=b"qdigitalSourceTypexG" + f"{VOCABULARY}{MADE_UP}".encode()))),
        ("c2pa", *IPTC_MADE_UP),
    ),
    "jpeg filled": (jpeg(b"\xff\xff" + in_app11(jumbf())), ("c2pa",)),
    "png xmp": (png(in_itxt(xmp(MADE_UP))), IPTC_MADE_UP),
    "png c2pa": (png(chunk(b"caBX", jumbf())), ("c2pa",)),
    "webp xmp": (webp((b"VP8X", b"\0" * 9), (b"XMP ", xmp(MADE_UP))), IPTC_MADE_UP),
    "webp c2pa": (webp((b"VP8X", b"\0" * 10), (b"C2PA", jumbf())), ("c2pa",)),
    "avif c2pa": (media(box(b"uuid", C2PA_BOX + b"\0\0\0\0manifest\0")), ("c2pa",)),
    "avif xmp": (media(box(b"mdat", xmp(MADE_UP))), IPTC_MADE_UP),
    "gif xmp": (b"GIF89a" + b"\0" * 50 + xmp(MADE_UP), IPTC_MADE_UP),
}


@pytest.mark.parametrize("name", FILES)
def test_marks_are_found(name: str) -> None:
    """Each format has its places."""
    data, marks = FILES[name]

    assert marks_of(data) == marks


@pytest.mark.parametrize("form", ["attribute", "element", "resource"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_all_ways_to_write_it(form: str, scheme: str) -> None:
    """RDF has several for one property."""
    assert marks_of(jpeg(in_app1(xmp(CAMERA, form=form, scheme=scheme)))) == (f"iptc:{CAMERA}",)


@pytest.mark.parametrize("code", sorted(SOURCE_TYPES))
def test_every_code_of_iptc_is_known(code: str) -> None:
    """The retired ones too: old files keep them."""
    assert marks_of(png(in_itxt(xmp(code)))) == (f"iptc:{code}",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        encode(draw_photo(3), "JPEG", quality=60),
        encode(draw_photo(3), "PNG"),
        jpeg(in_app1(xmp("madeUpWord"))),
        jpeg(in_app1(xmp(MADE_UP + "AndMore"))),
        jpeg(segment(0xE5, xmp(MADE_UP))),
        jpeg(segment(0xFE, jumbf())),
        jpeg(in_app1(f"see {VOCABULARY}{MADE_UP}".encode())),
        jpeg(in_app11(jumbf(store=b"other manifest s"))),
        jpeg(in_app11(box(b"free", b"c2pa"))),
        png(chunk(b"tEXt", b"Comment\0c2pa")),
        media(box(b"uuid", b"\0" * 16)),
        encode(draw_photo(3), "JPEG", quality=60) + in_app11(jumbf()),
    ],
)
def test_what_is_none_is_not_found(data: bytes) -> None:
    """Unknown words, other places, other boxes, a mention in a text, what stands behind."""
    assert marks_of(data) == ()


def test_they_come_with_the_hashes() -> None:
    """And change none of them."""
    plain, marked = (
        hash_image(data, max_bytes=MIB, max_pixels=MIB)
        for data in (jpeg(), jpeg(in_app1(xmp(MADE_UP)), in_app11(jumbf())))
    )

    assert (plain.provenance, marked.provenance) == ((), ("c2pa", *IPTC_MADE_UP))
    assert plain.rows == marked.rows


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_ends_early_is_no_error(name: str) -> None:
    """Wherever it is cut; what was whole before the cut may still be named."""
    data, marks = FILES[name]
    for end in {*range(min(len(data), 1500)), len(data) - 1}:
        assert set(marks_of(data[:end])) <= set(marks)


HOSTILE = {
    "huge xmp": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a> " * (8 * MIB))),
    "types without end": b"GIF89a" + xmp("x" * 41) * 100_000,
    "almost the vocabulary": b"GIF89a" + b"cv.iptc.org/newscodes/digitalsourcetyp" * 800_000,
    "segments without end": b"\xff\xd8" + segment(0xE1, b"") * 8_000_000,
    "fill without end": b"\xff\xd8" + b"\xff" * (32 * MIB),
    "chunks without end": png(chunk(b"tEXt", b"") * 2_000_000),
    "a chunk beyond the file": png(struct.pack(">I4s", 0xFFFFFFFF, b"iTXt")),
    "boxes in boxes": jpeg(in_app11(box(b"jumb", box(b"jumb", b"") * 5_000))),
    "boxes without end": media(box(b"free", b"") * 4_000_000),
    "a box of no size": media(struct.pack(">I4s", 1, b"uuid") + b"\0" * 8 + C2PA_BOX),
    "a box of all sizes": media(struct.pack(">I4sQ", 1, b"free", 2**64 - 1)),
    "webp chunks without end": webp(*[(b"XMP ", b"")] * 1_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_nothing(name: str) -> None:
    """However large and however often; the best of three, since others use this machine too."""
    data, times = HOSTILE[name], list[float]()
    for _ in range(3):
        before = time.perf_counter()
        marks_of(data)
        times.append(time.perf_counter() - before)

    assert min(times) < 0.01


def test_the_bounds() -> None:
    """Behind so many parts, or so many bytes, nothing is looked at."""
    late = jpeg(*[segment(0xE2, b"")] * (MOST_PARTS - 1), in_app11(jumbf()))
    later = jpeg(*[segment(0xE2, b"")] * MOST_PARTS, in_app11(jumbf()))
    far = b"GIF89a" + b" " * MOST_BYTES + xmp(MADE_UP)

    assert (marks_of(late), marks_of(later), marks_of(far)) == (("c2pa",), (), ())


@given(st.data())
def test_no_bytes_raise(data: st.DataObject) -> None:
    """Whatever is changed, cut or put in."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    changed = bytearray(FILES[name][0][:4000])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(changed)))
        size = data.draw(st.integers(0, 8))
        changed[at : at + size] = data.draw(st.binary(max_size=8))

    assert all(mark == "c2pa" or mark[5:] in SOURCE_TYPES for mark in marks_of(bytes(changed)))


@given(st.binary(max_size=200))
def test_no_beginning_raises(rest: bytes) -> None:
    """Random bytes behind each signature."""
    for head in (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        b"\0\0\0\x08ftyp",
        b"",
    ):
        assert marks_of(head + rest) in {(), ("c2pa",)}
