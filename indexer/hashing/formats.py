"""Which format bytes are in, by their content alone; no name and no header is believed.

An allow-list: only formats that Pillow, or a reader for Pillow, decodes in memory.
Nothing that starts a program or writes files (EPS), interprets drawing
commands (SVG, WMF, PDF) or has no signature of its own (TGA) is ever opened.

Where a format is decoded (docs/adr/0014): in this process what libjpeg-turbo, zlib and
Pillow's own short C loops read, whose work is bounded by the bytes and pixels there
are; in a process of its own what large and changing libraries read.
"""

import importlib.util
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format that is known by its content.

    Attributes:
        mime: media type.
        reader: Pillow's class for it, or None when it is not decoded. The class is
            called directly: ``Image.open`` would try others, and warns or gives up at
            a limit of its own.
        isolated: decoded in a process of its own.
        demuxer: FFmpeg's name for it, of a video.
        extra: the optional dependency of ours that brings the reader, where it is missing.
    """

    mime: str
    reader: Callable[[BytesIO], ImageFile.ImageFile] | None = None
    isolated: bool = False
    demuxer: str = ""
    extra: str = ""


def _open_heif(file: BytesIO) -> ImageFile.ImageFile:
    """Read HEIF by pillow-heif, which only the decoding process loads."""
    from pillow_heif import HeifImageFile, options  # noqa: PLC0415 - see above

    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return HeifImageFile(file)  # type: ignore[no-untyped-call]


def _open_cursor(file: BytesIO) -> ImageFile.ImageFile:
    """Read a cursor, which is an icon but for one byte; browsers show either as a picture."""
    data = file.read()
    return IcoImagePlugin.IcoImageFile(BytesIO(data[:2] + b"\x01" + data[3:]))


_HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
_VIDEO_EXTRA = "" if importlib.util.find_spec("av") is not None else "video"


# Of a JPEG with further pictures (MPO) the JPEG reader gives the first.
JPEG = Format(mime="image/jpeg", reader=JpegImagePlugin.JpegImageFile)
PNG = Format(mime="image/png", reader=PngImagePlugin.PngImageFile)
GIF = Format(mime="image/gif", reader=GifImagePlugin.GifImageFile)
_WEBP = Format(mime="image/webp", reader=WebPImagePlugin.WebPImageFile, isolated=True)
_AVIF = Format(mime="image/avif", reader=AvifImagePlugin.AvifImageFile, isolated=True)
_TIFF = Format(mime="image/tiff", reader=TiffImagePlugin.TiffImageFile, isolated=True)
BMP = Format(mime="image/bmp", reader=BmpImagePlugin.BmpImageFile)
ICO = Format(mime="image/x-icon", reader=IcoImagePlugin.IcoImageFile)
CURSOR = Format(mime="image/x-win-cursor", reader=_open_cursor)
_PGM = Format(mime="image/x-portable-graymap", reader=PpmImagePlugin.PpmImageFile)
_PPM = Format(mime="image/x-portable-pixmap", reader=PpmImagePlugin.PpmImageFile)
_PBM = Format(mime="image/x-portable-bitmap", reader=PpmImagePlugin.PpmImageFile)
_HEIF = (
    Format(mime="image/heif", reader=_open_heif, isolated=True)
    if _HAS_HEIF
    else Format(mime="image/heif", extra="heif")
)
_MP4, _MATROSKA, _AVI = (
    Format(mime=mime, demuxer=demuxer, isolated=True, extra=_VIDEO_EXTRA)
    for mime, demuxer in (
        ("video/mp4", "mov"), ("video/webm", "matroska"), ("video/x-msvideo", "avi"),
    )
)  # fmt: skip
_JPEG_2000 = Format(mime="image/jp2")
_JPEG_XL = Format(mime="image/jxl")
_POSTSCRIPT = Format(mime="application/postscript")
_WMF = Format(mime="image/wmf")
SVG = Format(mime="image/svg+xml")

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"II+\x00", _TIFF),
    (b"MM\x00+", _TIFF),
    (b"BM", BMP),
    (b"\x00\x00\x01\x00", ICO),
    (b"P4", _PBM),
    (b"P5", _PGM),
    (b"P6", _PPM),
    # Text formats: read number by number in Python, minutes for a large file.
    (b"P1", Format(mime="image/x-portable-bitmap")),
    (b"P2", Format(mime="image/x-portable-graymap")),
    (b"P3", Format(mime="image/x-portable-pixmap")),
    (b"P7", Format(mime="image/x-portable-arbitrarymap")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _JPEG_2000),
    (b"\xff\x4f\xff\x51", _JPEG_2000),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", _JPEG_XL),
    (b"\xff\x0a", _JPEG_XL),
    (b"\x1a\x45\xdf\xa3", _MATROSKA),
    (b"%!PS", _POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", _POSTSCRIPT),
    (b"%PDF-", Format(mime="application/pdf")),
    (b"\xd7\xcd\xc6\x9a", _WMF),
    (b"\x01\x00\x09\x00", _WMF),
    (b"8BPS", Format(mime="image/vnd.adobe.photoshop")),
    (b"\x00\x00\x02\x00", CURSOR),
    (b"icns", Format(mime="image/icns")),
    (b"v/1\x01", Format(mime="image/x-exr")),
    (b"#?RADIANCE", Format(mime="image/vnd.radiance")),
    (b"DDS ", Format(mime="image/vnd.ms-dds")),
    (b"qoif", Format(mime="image/qoi")),
    (b"FLIF", Format(mime="image/flif")),
    (b"II\xbc", Format(mime="image/jxr")),
    (b"\x0a\x05\x01", Format(mime="image/x-pcx")),
    (b"/* XPM */", Format(mime="image/x-xpixmap")),
    (b"gimp xcf ", Format(mime="image/x-xcf")),
)

_BRANDS: dict[bytes, Format] = {
    b"avif": _AVIF,
    b"avis": _AVIF,
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), _HEIF
    ),
}
# The rest of the container's brands: sound alone (M4A) has no picture, and is not among them.
_VIDEO_BRANDS = (b"isom", b"iso", b"mp4", b"avc", b"M4V", b"qt  ", b"3gp", b"3g2", b"dash", b"MSNV")
_SVG_SEARCHED = 1024
_GZIP = b"\x1f\x8b\x08"
_GZIP_WINDOW = 31  # zlib's word for: with gzip's header
# Two or three letters begin many texts: these formats must show a whole header.
_WHITESPACE = b" \t\r\n\x0b\x0c"


def sniff(data: bytes) -> Format | None:
    """Recognise the format of encoded bytes, or None for what is no image that we know."""
    for signature, found in _SIGNATURES:
        if data.startswith(signature) and _is_plausible(data, signature):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return _AVI
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    return SVG if b"<svg" in _text_of(data).lower() else None


def _text_of(data: bytes) -> bytes:
    """Return the first bytes, unpacked if they are gzip: so SVG is often served (``.svgz``)."""
    head = data[:_SVG_SEARCHED]
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(head, _SVG_SEARCHED)
    except zlib.error:
        return b""


def _is_plausible(data: bytes, signature: bytes) -> bool:
    if signature[:1] == b"P" and len(signature) == 2:  # noqa: PLR2004 - P1 to P7
        return data[2:3] in {bytes([space]) for space in _WHITESPACE}
    if signature == b"BM":  # the length of the second header, 12 to 124, is four bytes
        return len(data) < 18 or 12 <= int.from_bytes(data[14:18], "little") <= 124  # noqa: PLR2004
    return True


def _by_brand(data: bytes) -> Format | None:
    """Tell AVIF from HEIF: they share a container and name themselves by brands."""
    box_bytes = min(int.from_bytes(data[:4]), _SVG_SEARCHED)
    major = data[8:12]
    compatible = {data[at : at + 4] for at in range(16, box_bytes, 4)}
    is_avif = bool(compatible & {b"avif", b"avis"})
    if major in {b"mif1", b"msf1"} and is_avif:
        return _AVIF
    if found := _BRANDS.get(major) or (_MP4 if major.startswith(_VIDEO_BRANDS) else None):
        return found
    return _AVIF if is_avif else None  # browsers ask for no more than one brand among all
