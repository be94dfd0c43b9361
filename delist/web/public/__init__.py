"""Pages for people outside: survivors, and owners of websites. No account, no cookie.

::

    home.py     what this is, and three ways on
    case.py     one's own case
    report.py   reporting an image
    appeal.py   a website's owner asks for another look
    frame.py    language, helplines, quick exit; forms as they come
    state.py    limits and tickets of one app
    tickets.py  what a page hands to the next one instead of a secret
    tries.py    how often somebody may try to open a case
    words.py    sentences that scripts and checks name by a code

Whatever is sent comes by POST and stands in no address; nothing is kept by a browser.
"""

from delist.web.public import appeal, case, home, report

MODULES = (home, case, report, appeal)
"""Each has a ``router``."""

__all__ = ["MODULES"]
