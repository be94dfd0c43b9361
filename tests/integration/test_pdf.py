"""Reports as PDF files, with WeasyPrint and the fonts of the system."""

import logging
import os
import re
import subprocess
import sys
import zlib

import pytest

from delist.errors import ReportError
from delist.reporting import SurvivorReport, as_html, language, pdf

REPORT = SurvivorReport(
    case_ref="5f0c",
    generated_at="2026-03-02T12:00:00+00:00",
    case_status="active",
    access="summary",
)
try:
    import weasyprint
except OSError:
    if os.environ.get("CI"):
        raise
    pytest.skip(f"PDF needs {pdf.PACKAGES}", allow_module_level=True)


@pytest.mark.parametrize("code", ["en", "cy", "es", "ur"])
def test_a_report_becomes_a_pdf(code: str) -> None:
    """A file that says its language and is tagged for screen readers."""
    words = language(code)
    content = pdf.as_pdf(as_html(REPORT, words, for_paper=True), words)

    assert content.startswith(b"%PDF-")
    text = b"".join(
        zlib.decompress(stream)
        for stream in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", content, re.DOTALL)
    )
    assert b"/MarkInfo" in text
    assert f"/Lang ({code})".encode() in text
    assert b"/JavaScript" not in text
    assert b"/URI" not in text


def test_a_page_that_loads_something_is_refused() -> None:
    """Nothing is fetched, not even from this machine."""
    for page in (
        '<title>x</title><img src="file:///etc/passwd">',
        '<title>x</title><link rel="stylesheet" href="http://127.0.0.1:1/x.css">',
    ):
        with pytest.raises(weasyprint.urls.FatalURLFetchingError):
            pdf.as_pdf(page, language("en"))


def test_a_missing_font_is_an_error() -> None:
    """Rather than a page of boxes: the message names the package."""
    with pytest.raises(ReportError, match="fonts-noto-core"):
        pdf.as_pdf("<title>x</title><p>x", language("ur"))


def test_a_missing_extra_is_one_line() -> None:
    """Without WeasyPrint there are the other formats, and a line that says what to install."""
    code = (
        "import sys; sys.modules['weasyprint'] = None\n"
        "from delist.reporting import language, pdf\n"
        "try: pdf.as_pdf('', language('en'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("ReportError PDF: install the extra")
    assert logging.getLogger("weasyprint").level in {logging.NOTSET, logging.CRITICAL}
