"""What a body is, told by its first bytes. Pure."""

HEAD_BYTES = 32
"""How much of a body ``is_image`` looks at."""

_IMAGE_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\x00",  # TIFF
    b"MM\x00*",
    b"\xff\x0a",  # JPEG XL
    b"\x00\x00\x00\x0cJXL ",
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000
    b"\x00\x00\x01\x00",  # ICO
)
_FTYP_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})


def is_image(head: bytes, declared: str = "") -> bool:
    """Decide by the bytes; the declared type counts only where the bytes say nothing.

    Args:
        head: the first ``HEAD_BYTES`` of a body, unpacked, or all of it.
        declared: its Content-Type.
    """
    if head.startswith(_IMAGE_MAGIC):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    if head[4:8] == b"ftyp" and head[8:12] in _FTYP_BRANDS:
        return True
    return declared.lower().startswith("image/") and not head.lstrip().startswith(b"<")
