"""A page as PDF, tagged for screen readers, with WeasyPrint (an extra: ``delist[pdf]``).

WeasyPrint needs Pango and HarfBuzz of the system, and fonts: on Debian ``libpango-1.0-0``,
``libpangoft2-1.0-0``, ``libharfbuzz-subset0`` and ``fonts-noto-core`` (Nastaliq and Naskh for
Urdu). Nothing is fetched: a page holds all that it needs.
"""

import logging
import subprocess
import sys

from PIL import ImageFile

from delist.errors import ReportError
from delist.reporting.languages import Language, language

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-noto-core"
_TIMEOUT_S = 40
_FONTS = {"ur": ("Nastaliq", "Nastaleeq", "Naskh", "Urdu Typesetting")}


def as_pdf_apart(page: str, words: Language) -> bytes:
    """Do the same in a process of its own, for a process that answers others meanwhile.

    Raises:
        ReportError: as ``as_pdf``; or it took too long.
    """
    command = [sys.executable, "-m", "delist.reporting.pdf", words.tag]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, input=page.encode(), capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (subprocess.SubprocessError, OSError):
        raise ReportError("PDF: it cannot be made at the moment") from None
    return done.stdout


def as_pdf(page: str, words: Language) -> bytes:
    """Turn a page of ours into a PDF file.

    Raises:
        ReportError: WeasyPrint, what it needs of the system, or a font is missing.
    """
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        from weasyprint import HTML  # noqa: PLC0415 - an extra
        from weasyprint.urls import FatalURLFetchingError  # noqa: PLC0415
    except ImportError:
        raise ReportError("PDF: install the extra: pip install 'delist[pdf]'") from None
    except OSError:
        raise ReportError(
            f"PDF: libraries are missing; on Debian: apt-get install {PACKAGES}"
        ) from None
    finally:
        # WeasyPrint makes Pillow lenient for the whole process: cut images would be hashed.
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient

    def refuse(_url: str, *_: object) -> None:
        raise FatalURLFetchingError("a report loads nothing")

    logging.getLogger("weasyprint").setLevel(logging.CRITICAL)  # style rules it does not know
    document = HTML(string=page, url_fetcher=refuse).render(pdf_variant="pdf/ua-1")
    content = document.write_pdf(pdf_variant="pdf/ua-1")
    families = {font.family for font in document.fonts.values()}
    wanted = _FONTS.get(words.code, ())
    if wanted and not any(name in family for family in families for name in wanted):
        raise ReportError(
            "PDF: a font for this language is missing; on Debian: apt-get install fonts-noto-core"
        )
    return bytes(content)


if __name__ == "__main__":
    try:
        written = as_pdf(sys.stdin.buffer.read().decode(), language(sys.argv[1]))
    except ReportError:
        sys.exit(1)
    sys.stdout.buffer.write(written)
