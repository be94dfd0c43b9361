"""Reports: to the holder of a case reference, to the public, to databases of statements.

::

    survivor.py      what was found and delisted for one case reference
    pages.py         reports as HTML that loads nothing; report.css, report.js, ../templates
    pdf.py           a page as PDF
    languages.py     catalogues (locale/), dates, numbers, direction
    helplines.py     who helps, by country
    addresses.py     addresses that do not open
    transparency.py  figures about a period; disclosure.py, charts.py
    operations.py    figures for those who run the service; waits.py
    dsa.py lumen.py  what databases of statements and notices take; exports.py
"""

from delist.reporting.addresses import defang, refang
from delist.reporting.languages import Language, language
from delist.reporting.survivor import (
    HostCount,
    ReportedImage,
    SurvivorReport,
    as_html,
    as_json,
    is_told_of,
    signals_behind,
    survivor_report,
)

__all__ = [
    "HostCount",
    "Language",
    "ReportedImage",
    "SurvivorReport",
    "as_html",
    "as_json",
    "defang",
    "is_told_of",
    "language",
    "refang",
    "signals_behind",
    "survivor_report",
]
