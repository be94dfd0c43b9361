"""The shared frontier: what is known of one crawl lies in Redis, and every step is one script.

(1) A URL is put there once, by whoever finds it first: its key is known from then on. An image
    that others have found joins its place to it, or learns what became of it.
(2) Whoever draws a URL holds it for ``lease_s`` and says three times as often that it lives.
    What is held for longer goes back, and to another crawler: what kills ``tries`` of them is
    given up.
(3) Each host has one pace for all machines: whoever is about to send takes the next turn.
(4) A URL is done once the queue to the indexer holds what was found there.
(5) When nothing waits and nothing is held, the crawl is over, and Redis forgets it.

What lies there, under ``delist:{NAME}:``, all with an expiry: ``known`` keys (HMAC of the URL's
key) with how they ended; ``tasks`` and ``places``, sealed; ``queue``, ``hosts``, ``pace``, ``out``
by HMAC of the host; ``leases``, ``owners``, ``tries`` by key; ``sites`` by HMAC; ``meta`` counts;
``robots:…`` what a robots.txt says, sealed, for an hour; ``ended``, which crawl was over lately.
"""

import asyncio
import secrets
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from time import monotonic
from typing import Any, Self

from redis import exceptions
from redis.asyncio import Redis

from crawler.errors import FrontierError
from crawler.frontier.tasks import Task, read_place, read_task, write_place, write_task
from crawler.places import Place
from crawler.settings import FrontierSettings
from indexer.errors import SettingsError
from indexer.queue.sealing import NotSealedError, Seal

FORMAT = "1"
_NAMES = (
    "meta", "known", "tasks", "hosts", "queue", "places", "pace", "leases", "owners", "out",
    "tries", "sites", "ended",
)  # fmt: skip
_SCRIPTS = ("open", "add", "reserve", "renew", "finish", "release", "turn", "slow", "close")
_AT_ONCE = 500
_ROBOTS_S = 3600
"""RFC 9309 lets a robots.txt be kept for a day."""
_REFUSED = b"-"
_TIMEOUT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
_GONE = "the crawl is gone from Redis: it was over, or the server lost what it held"
_WRONG = {
    "OTHERFORMAT": "the crawl was begun by another version of the program; give it another name",
    "OTHERKEY": "the crawl was begun with another key than the one of frontier.key_file",
}


class FrontierGoneError(FrontierError):
    """Redis does not have the crawl any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What one look at the frontier gave.

    Attributes:
        tasks: to be visited now; each is held until it is finished.
        waiting: how many wait.
        held: how many somebody has in hand, these included.
        sites: how many sites the crawl has.
        given_up: how many were found just now to have ended too many crawlers.
    """

    tasks: Sequence[Task] = field(default=(), repr=False)
    waiting: int = 0
    held: int = 0
    sites: int = 0
    given_up: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left for anybody."""
        return not self.waiting and not self.held


class Frontier:
    """One crawl, as one crawler sees it. Runs on one event loop.

    Attributes:
        crawl: what tells this crawl from others of its name; empty before ``open``.
    """

    def __init__(self, redis: "Redis", settings: FrontierSettings, seal: Seal) -> None:
        self._redis = redis
        self._settings = settings
        self._seal = seal
        self._token = secrets.token_hex(16)
        self._keys = [f"delist:{{{settings.crawl}}}:{name}" for name in _NAMES]
        folder = files("crawler.frontier")
        self._scripts = {
            name: redis.register_script(folder.joinpath(f"{name}.lua").read_text("utf-8"))
            for name in _SCRIPTS
        }
        self.crawl = ""

    @classmethod
    def at(cls, settings: FrontierSettings) -> Self:
        """Make the frontier that settings name; connects to nothing yet.

        Raises:
            SettingsError: a file cannot be read.
        """
        options: dict[str, Any] = {
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
        }
        if settings.password_file is not None:
            options["password"] = _read(settings)
            if settings.user:
                options["username"] = settings.user
        if settings.url.startswith("rediss:"):
            options["ssl_cert_reqs"] = ssl.CERT_REQUIRED
            if settings.ca_file is not None:
                options["ssl_ca_certs"] = str(settings.ca_file)
            if settings.certificate_file is not None:
                options["ssl_certfile"] = str(settings.certificate_file)
                options["ssl_keyfile"] = str(settings.certificate_file)
        seal = Seal.of_file(settings.key(), "frontier")
        return cls(Redis.from_url(settings.url, **options), settings, seal)

    async def open(self, *, max_pages: int) -> None:
        """Begin the crawl, or join it.

        Args:
            max_pages: most pages that all crawlers visit together; the largest that one asks for; 0
                asks for none.

        Raises:
            FrontierError: no answer; another version's or another key's crawl; or the server
                throws keys away when it is full.
        """
        memory = await self._ask(lambda: self._redis.info("memory"))
        if memory.get("maxmemory") and memory.get("maxmemory_policy") != "noeviction":
            raise FrontierError(
                "Redis throws keys away when it is full, and URLs would be lost: set its"
                " maxmemory-policy to noeviction"
            )
        check, new_id = self._seal.name(b"check"), secrets.token_hex(16)
        crawl, wrong = await self._run("open", FORMAT, check, new_id, max_pages, self._keep_ms)
        if wrong:
            raise FrontierError(_WRONG[wrong.decode()])
        self.crawl = crawl.decode()

    async def add(
        self,
        found: Iterable[tuple[Task, Place | None]],
        *,
        delays_ms: dict[str, int],
        max_sitemaps: int,
    ) -> list[str | None]:
        """Put tasks on the frontier, each with the place where an image was found (1).

        Args:
            found: tasks and places.
            delays_ms: pause between two requests, for each host, if none is known.
            max_sitemaps: sitemaps of the crawl.

        Returns:
            For each: where its URL led, if an image was fetched from there before; empty if it
            could not be. None where it waits, or is being visited.
        """
        flat = [
            (
                self._seal.name(task.key),
                self._host(task.host),
                task.order,
                task.kind.value,
                delays_ms[task.host],
                self._seal.seal(write_task(task)),
                b"" if place is None else self._seal.seal(write_place(place)),
            )
            for task, place in found
        ]
        ended: list[str | None] = []
        for at in range(0, len(flat), _AT_ONCE):
            arguments = [value for entry in flat[at : at + _AT_ONCE] for value in entry]
            told = await self._run("add", self.crawl, self._keep_ms, max_sitemaps, *arguments)
            ended += [self._outcome(state[1:]) if state[:1] == b"=" else None for state in told]
        return ended

    async def draw(self, most: int, *, per_host: int) -> Drawn:
        """Draw tasks whose hosts are due (2).

        Args:
            most: how many.
            per_host: most of one host that all crawlers have in hand.

        Raises:
            FrontierError: no answer; or the crawl is gone, and nobody has found it to be over.
        """
        try:
            return await self._draw(most, per_host)
        except FrontierGoneError:
            ended = await self._ask(lambda: self._redis.get(self._keys[-1]))
            if ended != self.crawl.encode():
                raise
            return Drawn()

    async def _draw(self, most: int, per_host: int) -> Drawn:
        settings = self._settings
        handed, waiting, held, sites, given_up = await self._run(
            "reserve",
            self.crawl,
            self._token,
            most,
            int(settings.lease_s * 1000),
            per_host,
            settings.tries,
            self._keep_ms,
        )
        tasks = [read_task(self._open(sealed)) for sealed in handed[1::2]]
        return Drawn(tasks=tasks, waiting=waiting, held=held, sites=sites, given_up=given_up)

    async def renew(self, held: Iterable[Task]) -> None:
        """Say that we live, and what we have in hand."""  # (2)
        names = [self._seal.name(task.key) for task in held]
        await self._run(
            "renew", self.crawl, self._token, int(self._settings.lease_s * 1000), *names
        )

    async def finish(
        self,
        task: Task,
        *,
        seen: int = 0,
        led_to: str | None = None,
        visited: bool = False,
        also: Iterable[bytes] = (),
    ) -> list[Place]:
        """End a task; what was found there has to be in the queue by now (4).

        Args:
            task: one that we hold; if another crawler has it by now, nothing happens.
            seen: places of the image that are in the queue.
            led_to: where an image was found; None where none was.
            visited: whether a page was read.
            also: keys of other URLs that led to the same.

        Returns:
            Places that have joined the image beyond those ``seen``: then it is not ended yet.
        """
        outcome = _REFUSED if led_to is None else self._seal.seal(led_to.encode())
        state, *more = await self._run(
            "finish",
            self.crawl,
            self._token,
            self._seal.name(task.key),
            seen,
            outcome,
            int(visited),
            *(self._seal.name(key) for key in also),
        )
        return [read_place(self._open(sealed)) for sealed in more] if state == b"more" else []

    async def places(self, task: Task) -> list[Place]:
        """Return on which pages an image that we hold was found so far."""
        name, places = self._seal.name(task.key), self._keys[_NAMES.index("places")]
        count = int(await self._ask(lambda: self._redis.hget(places, name)) or 0)
        if not count:
            return []
        fields = [f"{name}:{number}" for number in range(1, count + 1)]
        sealed = await self._ask(lambda: self._redis.hmget(places, fields))
        return [read_place(self._open(raw)) for raw in sealed if raw is not None]

    async def release(self, held: Iterable[Task]) -> None:
        """Give tasks back that were not visited."""
        names = [self._seal.name(task.key) for task in held]
        await self._run("release", self.crawl, self._token, *names)

    async def wait_ms(self, host: str, *, delay_ms: int) -> int:
        """Take the next turn of a host: how long to wait before sending (3).

        Args:
            host: as ``Task.host`` names it.
            delay_ms: pause between two requests, if none is known.
        """
        return int(await self._run("turn", self.crawl, self._host(host), delay_ms))

    async def slow_down(self, host: str, *, delay_ms: int = 0, pause_ms: int = 0) -> None:
        """Have every crawler keep to what a host asks for."""  # (3)
        await self._run("slow", self.crawl, self._host(host), delay_ms, pause_ms)

    async def add_sites(self, sites: Iterable[str]) -> None:
        """Add hosts (with ports) whose pages are followed."""
        names = [self._seal.name(b"site", site.encode()) for site in sites]
        if names:
            key = self._keys[_NAMES.index("sites")]
            await self._ask(lambda: self._redis.sadd(key, *names))

    async def sites(self) -> set[str]:
        """Return all sites, by ``site_name``."""
        key = self._keys[_NAMES.index("sites")]
        return {name.decode() for name in await self._ask(lambda: self._redis.smembers(key))}

    def site_name(self, site: str) -> str:
        """Name a site as ``sites`` does."""
        return self._seal.name(b"site", site.encode())

    async def recall(self, key: bytes) -> bytes | None:
        """Return what is kept of a robots.txt, by the key of its URL; None if nothing is."""
        sealed = await self._ask(lambda: self._redis.get(self._robots(key)))
        return self._open(sealed) if sealed else None

    async def claim(self, key: bytes, *, seconds: float) -> bool:
        """Say whether we are to fetch a robots.txt; for some time nobody else is told so."""
        name, most_ms = self._robots(key), int(seconds * 1000)
        return bool(await self._ask(lambda: self._redis.set(name, b"", nx=True, px=most_ms)))

    async def remember(self, key: bytes, said: bytes) -> None:
        """Keep what a robots.txt says, for an hour."""
        name, sealed = self._robots(key), self._seal.seal(said)
        await self._ask(lambda: self._redis.set(name, sealed, ex=_ROBOTS_S))

    async def give_up(self, key: bytes) -> None:
        """Let somebody else fetch a robots.txt."""
        await self._ask(lambda: self._redis.delete(self._robots(key)))

    async def end(self) -> bool:
        """Erase the crawl if it is over; says whether it was."""  # (5)
        return bool(await self._run("close", self.crawl))

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    # -- asking ----------------------------------------------------------------------------------

    @property
    def _keep_ms(self) -> int:
        return self._settings.keep_s * 1000

    def _robots(self, key: bytes) -> str:
        return f"delist:{{{self._settings.crawl}}}:robots:{self._seal.name(b'robots', key)}"

    def _host(self, host: str) -> str:
        return self._seal.name(b"host", host.encode())

    def _open(self, sealed: bytes) -> bytes:
        try:
            return self._seal.open(sealed)
        except NotSealedError:
            raise FrontierError("the frontier holds what was not sealed with our key") from None

    def _outcome(self, sealed: bytes) -> str:
        return "" if sealed == _REFUSED else self._open(sealed).decode()

    async def _run(self, script: str, *arguments: Any) -> Any:  # noqa: ANN401 - Redis's values
        return await self._ask(lambda: self._scripts[script](keys=self._keys, args=arguments))

    async def _ask(self, question: Any) -> Any:  # noqa: ANN401 - Redis's values
        """Ask until there is an answer, for some time; every question may be asked twice."""
        pause_s, since = _FIRST_PAUSE_S, monotonic()
        while True:
            try:
                return await question()
            except exceptions.AuthenticationError:
                raise FrontierError("Redis does not accept the credentials") from None
            except _AWAY as error:
                if monotonic() - since > self._settings.patience_s:
                    name = type(error).__name__
                    raise FrontierError(f"Redis does not answer ({name})") from None
            except exceptions.ResponseError as error:
                if "GONE" in str(error):
                    raise FrontierGoneError(_GONE) from None
                raise FrontierError(_explain(str(error))) from None
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _explain(text: str) -> str:
    """Say in our words what Redis refused; its own may repeat what it was sent."""
    if text.startswith("OOM"):
        return "Redis is full"
    return f"Redis refused a step ({text.split(' ', 1)[0][:20]})"


def _read(settings: FrontierSettings) -> str:
    path = settings.password_file
    assert path is not None  # noqa: S101 - the caller's case
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"{path} cannot be read: {reason}") from None
