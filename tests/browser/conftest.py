"""A real Chromium for the tests of this folder.

It is started for each module, not once for all: as long as playwright's driver is open, an event
loop counts as running in this thread, and a test elsewhere that starts one of its own would fail.
"""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.fakes.browser import Site, find_chromium, running_browser, running_site

# Far more than is needed, for machines that are busy with other tests.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is. In CI a machine without it is a failure."""
    found = find_chromium()
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("the browser tests did not run: no Chromium (apt-get install chromium)")
    pytest.skip("the browser tests are left out: no Chromium (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with running_browser(chromium) as started:
        yield started


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as served:
        yield served


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own, with nothing in it."""
    opened = browser.new_context()
    yield opened
    opened.close()
