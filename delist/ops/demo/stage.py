"""What the steps of the demo share: the scene, what should be suppressed, and the outcome."""

import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from delist.ops.demo.album import Album, Picture, make_album
from delist.ops.demo.commands import Commands
from delist.ops.demo.reports import ASKS, Reports, make_reports
from delist.ops.demo.site import PhotoSite
from delist.ops.demo.telling import Narrator, count_of
from delist.ops.standin import StopNciiStandIn, answer_with

ENDPOINTS = ("FetchHashes", "SubmitFeedback")
URLS_NAME = "images.txt"
_PAGE_RECORDS = 100
_RETRY_AFTER_S = 1


@dataclass(slots=True, kw_only=True)
class Step:
    """One step and its outcome.

    Attributes:
        problems: what was not as it should be, in words for people.
    """

    name: str
    seconds: float = 0.0
    counts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: bool, problem: str) -> None:  # noqa: FBT001 - reads like an assertion
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)

    def expect_counts(self, **expected: object) -> None:
        """Note every count that differs from what it should be."""
        for name, value in expected.items():
            found = self.counts.get(name)
            words = name.replace("_", " ")
            self.expect(found == value, f"{words} should be {value}, and is {found}")


class Stage:
    """The scene: site, stand-in, folder, commands. Use it as a context manager.

    Attributes:
        expected: URLs that should be suppressed as the story stands.
        access_code: of the person who asks for a report, once it is issued.
    """

    def __init__(self, folder: Path, narrator: Narrator) -> None:
        self.narrator = narrator
        self.commands = Commands(folder, narrator)
        self.album: Album = make_album()
        self.reports: Reports = make_reports(self.album)
        self.site = PhotoSite(self.album.pictures)
        self.standin = StopNciiStandIn(
            self.reports.first_records(),
            subscription_key=token_hex(16),
            function_keys={name: token_hex(16) for name in ENDPOINTS},
            faults=(answer_with(429, retry_after_s=_RETRY_AFTER_S),),
            page_size_cap=_PAGE_RECORDS,
        )
        self.expected: set[str] = set()
        self.access_code = ""
        self._servers = ExitStack()

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.commands.folder

    @property
    def asker(self) -> str:
        """Case reference of the person who asks for a report."""
        return self.reports.people[ASKS]

    def __enter__(self) -> Self:
        self._servers.enter_context(self.site)
        self._servers.enter_context(self.standin)
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def urls_of(self, pictures: list[Picture]) -> set[str]:
        """Return the URLs of pictures."""
        return {self.site.url_of(picture) for picture in pictures}

    def configure(self) -> None:
        """Fill in the feed in the configuration that ``delist init`` wrote."""
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        held = {"subscription": self.standin.subscription_key, **self.standin.function_keys}
        for name, key in held.items():
            (keys / name).touch(mode=0o600)
            (keys / name).write_text(f"{key}\n", encoding="ascii")
        files = ", ".join(f'{name} = "keys/{name}"' for name in ENDPOINTS)
        with self.commands.config.open("a", encoding="utf-8") as file:
            file.write(
                "\n# The stand-in of the demo.\n[feeds.stopncii]\n"
                f'base_url = "{self.standin.base_url}"\n'
                'subscription_key_file = "keys/subscription"\n'
                f"function_key_files = {{ {files} }}\n"
            )
        urls = "".join(f"{self.site.url_of(picture)}\n" for picture in self.album.pictures)
        (self.folder / URLS_NAME).write_text(urls, encoding="ascii")

    def check_results(self, step: Step) -> dict[str, dict[str, Any]]:
        """Ask of every image whether it is suppressed; returns the answers by URL."""
        path = self.folder / URLS_NAME
        urls = path.read_text(encoding="ascii")
        answers = self.commands.run(
            "suppressed", "-", stdin=urls, redirected=f"< {shlex.quote(str(path))}"
        )
        found = {answer["url"] for answer in answers if answer["suppressed"]}
        missing, wrong = len(self.expected - found), len(found - self.expected)
        step.counts |= {"suppressed": len(found), "missing": missing, "wrong": wrong}
        step.counts["not_suppressed"] = len(answers) - len(found)
        step.expect(len(answers) == len(self.album.pictures), "not every image got an answer")
        step.expect(not missing, f"{count_of(missing, 'image')} should be suppressed, and shows")
        step.expect(not wrong, f"{count_of(wrong, 'image')} should show, and is suppressed")
        return {answer["url"]: answer for answer in answers}
