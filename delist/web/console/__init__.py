"""The review console: pages for people who decide, and for those who watch how it goes.

Use cases are ``delist.review``, ``delist.appeals``, ``delist.governance`` and others; here are
their forms, their words, and who may come here. No page is needed to be drawn by a script: what
scripts add (keys, the image, clocks) lies in ``static/console.js``.
"""

from delist.web.console import (
    appeals,
    case,
    control,
    deciding,
    figures,
    image,
    queue,
    records,
    reports,
    search,
    shift,
)

MODULES = (queue, case, image, deciding, appeals, control, reports, search, records, figures, shift)
"""Those with a ``router``."""
