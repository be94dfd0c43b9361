"""A real browser for the tests, and a site on loopback that writes down who asked for what."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from delist.web.headers import API_POLICY

STATIC = Path(__file__).parents[2] / "delist" / "web" / "static"
STRICT = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
"""For the page: nothing but our own scripts, no connection, no picture, nothing inline, no eval.
Scripts have the product's own, ``API_POLICY``: a worker under it cannot ask for anything."""
PAGE = b"""<!doctype html><html lang="en"><title>Hashing</title>
<input type="file" id="file"><script type="module" src="/page.js"></script>"""
SCRIPT = b"""import * as pdq from "/static/pdq.js";
window.pdq = pdq;
window.hasher = await pdq.ImageHasher.open();
window.hashChosen = async (options, hash = (file) => window.hasher.hash(file, options)) => {
  try {
    return await hash(document.getElementById("file").files[0]);
  } catch (error) {
    const { name, code, message } = error;
    return { name, code, message };
  }
};
document.documentElement.dataset.ready = "yes";
"""


def find_chromium() -> str | None:
    """Find Chromium as Debian installs it, or under another of its names."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name, path="/usr/bin:/usr/local/bin:/snap/bin"):
            return path
    return None


@contextmanager
def running_browser(executable: str) -> Iterator[Browser]:
    """Start a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def open_page(context: BrowserContext, site: "Site") -> Page:
    """Open the page, and wait until it has loaded what it will need."""
    page = context.new_page()
    page.goto(site.url)
    page.wait_for_selector("html[data-ready]", state="attached", timeout=20_000)
    return page


class Site:
    """Serves our scripts and a page that uses them, under the strictest policy.

    Attributes:
        policy: a Content-Security-Policy for everything, in place of the strictest one.
        requests: methods and paths, in the order they came.
    """

    def __init__(self, address: str) -> None:
        self.url = address
        self.policy = ""
        self.requests: list[str] = []

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """Find what a path stands for: its bytes and their type."""
        if path == "/":
            return PAGE, "text/html; charset=utf-8"
        if path == "/page.js":
            return SCRIPT, "text/javascript"
        name = path.removeprefix("/static/")
        if name != path and name in {file.name for file in STATIC.glob("*.js")}:
            return (STATIC / name).read_bytes(), "text/javascript"
        return None


@contextmanager
def running_site() -> Iterator[Site]:
    """Serve the scripts on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.daemon_threads = True
        site = Site(f"http://127.0.0.1:{server.server_port}")
        server.RequestHandlerClass = _handler(site)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def _handler(site: Site) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(f"{self.command} {self.path}")
            found = site.answer(self.path)
            body, mime = found or (b"", "text/plain")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", mime)
            self.send_header("Content-Length", str(len(body)))
            strictest = STRICT if mime.startswith("text/html") else API_POLICY
            self.send_header("Content-Security-Policy", site.policy or strictest)
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        # Whatever leaves the page shows here.
        do_POST = do_PUT = do_GET  # noqa: N815 - names of the base

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
            del format, args

    return Handler
