"""Typed settings of the crawler, the job of one crawl, and what Scrapy makes of both.

Nothing here imports Scrapy, so a command line that does not crawl does not load it.
"""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from indexer.errors import SettingsError
from indexer.settings import QueueSettings, check_server, read_section, setting

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlSettings:
    """[crawler]: how polite and how patient a crawl is."""

    user_agent: str = setting(
        "DelistBot/0.1 (+https://delist.invalid/bot)",
        "What servers are told. Its first word is matched against robots.txt; put a contact here.",
    )
    obey_robots: bool = setting(True, "Whether robots.txt is obeyed, its Crawl-delay included.")
    delay_s: float = setting(
        0.5, "Pause between two requests to one host, in seconds; none to loopback hosts.", low=0
    )
    max_crawl_delay_s: float = setting(
        30.0, "Longest Crawl-delay of a robots.txt that is kept to, in seconds.", low=0
    )
    retry_after_cap_s: float = setting(
        120.0, "Longest pause that a Retry-After header is granted, in seconds.", low=0
    )
    concurrent_requests: int = setting(16, "Most transfers at once.", low=1, high=512)
    concurrent_per_host: int = setting(8, "Most transfers at once from one host.", low=1, high=512)
    timeout_s: float = setting(
        30.0, "Longest that one answer may take, from connecting to its last byte.", low=1
    )
    dns_timeout_s: float = setting(10.0, "Longest that one name look-up may take.", low=1)
    retries: int = setting(
        2, "How often a failed transfer is tried again. Timeouts are not.", low=0, high=10
    )
    max_redirects: int = setting(10, "Redirects followed for one resource.", low=0, high=50)
    max_page_bytes: int = setting(10 * _MIB, "Largest page or sitemap, unpacked.", low=1024)
    max_header_bytes: int = setting(256 * 1024, "Largest header section of an answer.", low=1024)
    max_pages: int = setting(10_000, "Pages of one crawl, unless the job says otherwise.", low=1)
    max_links_per_page: int = setting(5_000, "Page links that are read off one page.", low=1)
    max_images_per_page: int = setting(
        5_000, "Images that are fetched for one page; the rest is counted as refused.", low=1
    )
    max_videos_per_page: int = setting(
        100,
        "Video files that are fetched for one page; the rest is counted as refused. 0: the links\n"
        "of pages to videos are not followed.",
        low=0,
    )
    max_video_bytes: int = setting(
        512 * _MIB,
        "Largest video file, in bytes, unpacked. Its MD5 is made as it comes in, so this costs\n"
        "transfer and not memory: an hour as phones and hosts store it. Larger ones are refused\n"
        "as video_too_large. Frames are hashed up to hashing.max_bytes.",
        low=1,
    )
    min_video_bytes_per_s: int = setting(
        256 * 1024,
        "Slowest that a video may come in, in bytes a second, beyond timeout_s: its transfer may\n"
        "take timeout_s and the time that its bytes need at this rate.",
        low=1024,
    )
    max_sitemaps: int = setting(200, "Sitemaps of one crawl.", low=1)
    host_failure_limit: int = setting(
        16, "Timeouts in a row after which a host is left alone for this crawl.", low=1
    )
    pending_bytes: int = setting(
        64 * _MIB, "Image bytes that may wait for hashing before transfers pause.", low=1
    )
    waiting_bytes: int = setting(
        128 * _MIB,
        "Memory for links that wait to be visited, about; the rest is counted as too_many_links.",
        low=1,
    )
    hash_threads: int = setting(0, "Threads that hash. 0: one for each processor.", low=0, high=256)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierSettings:
    """[frontier]: the URLs that crawlers on several machines share, in Redis; docs/cluster.md."""

    url: str = setting("", "A Redis server: rediss://host:6379/0. `--frontier` takes its place.")
    crawl: str = setting("default", "Name of the crawl that crawlers share.")
    key_file: Path | None = setting(
        None,
        "A file with the key that URLs are sealed and named with, the same for every crawler: 64\n"
        "hex digits, as `delist backup-key` writes one.",
    )
    user: str = setting("", "A user of Redis (ACL), with password_file; empty for its default one.")
    password_file: Path | None = setting(None, "A file with the password.")
    ca_file: Path | None = setting(
        None, "Certificates (PEM) that are trusted instead of the usual."
    )
    certificate_file: Path | None = setting(
        None, "Our certificate and its key (PEM), where the server asks for one."
    )
    allow_plain: bool = setting(
        False, "Whether redis:// is accepted beyond loopback: where nobody else listens."
    )
    reserved: int = setting(32, "Most URLs that one crawler has in hand at once.", low=1, high=1024)
    lease_s: float = setting(
        60.0,
        "Seconds after which what a killed crawler had in hand goes to another one. Those that\n"
        "live say so three times as often.",
        low=1,
        high=3600,
    )
    tries: int = setting(
        3, "How many crawlers may end over one URL before it is given up.", low=1, high=100
    )
    keep_s: int = setting(
        3 * 86_400,
        "Seconds after the last sign of life of any crawler in which all of a crawl leaves Redis.\n"
        "A crawl that comes to its end leaves it at once.",
        low=60,
    )
    patience_s: int = setting(
        60, "Seconds for which a crawler waits for a server that is away.", low=0
    )

    def __post_init__(self) -> None:
        if self.url:
            check_server(
                self.url,
                schemes=("redis", "rediss"),
                where="frontier.url",
                allow_plain=self.allow_plain,
            )
        if not re.fullmatch(r"[\w-]{1,64}", self.crawl, re.ASCII):
            raise SettingsError("frontier.crawl: 1 to 64 letters, digits, _ and - are needed")
        if self.user and self.password_file is None:
            raise SettingsError("frontier.user: goes with password_file")

    def key(self) -> Path:
        """Return where the key is.

        Raises:
            SettingsError: nobody said so.
        """
        if self.key_file is None:
            raise SettingsError("frontier.key_file: is missing; `delist backup-key FILE` makes one")
        return self.key_file


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlJob:
    """What one crawl is to visit.

    Attributes:
        urls: seeds; each a page, an image or a sitemap.
        image_urls: images and videos that are looked at and nothing else: what answers a page is
            refused, no link is followed, and what became of each is reported.
        depth: page links followed away from a seed; 0 visits the seeds alone.
        max_pages: most pages that are visited; None leaves it to the settings.
        sitemap: also read the sitemaps of the seeds' hosts.
        allow_private_addresses: also fetch from loopback and private networks.
        stay: with a shared frontier, wait for URLs of others when it is empty.
    """

    urls: tuple[str, ...] = field(default=(), repr=False)
    image_urls: tuple[str, ...] = field(default=(), repr=False)
    depth: int = 1
    max_pages: int | None = None
    sitemap: bool = False
    allow_private_addresses: bool = False
    stay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCrawl:
    """Where crawlers of several machines meet, and what they find goes."""

    frontier: FrontierSettings
    queue: QueueSettings

    def order(self) -> dict[str, Any]:
        """Write both as JSON, for the crawl's process; secrets are in files and stay there."""
        return {
            name: {
                key: str(value) if isinstance(value, Path) else value
                for key, value in asdict(part).items()
                if value is not None
            }
            for name, part in (("frontier", self.frontier), ("queue", self.queue))
        }

    @classmethod
    def of_order(cls, order: dict[str, Any]) -> Self:
        """Read what ``order`` wrote."""
        return cls(
            frontier=read_section(FrontierSettings, order, "frontier", base_dir=Path("/")),
            queue=read_section(QueueSettings, order, "queue", base_dir=Path("/")),
        )


def scrapy_settings(
    settings: CrawlSettings, *, allow_private_addresses: bool = False, max_image_bytes: int
) -> dict[str, Any]:
    """Turn typed settings into Scrapy's.

    Args:
        settings: the [crawler] table.
        allow_private_addresses: switches the address guard off.
        max_image_bytes: the indexer's ``hashing.max_bytes``.
    """
    return {
        **_behaviour(settings),
        **_limits(settings, max_image_bytes=max_image_bytes),
        **_silence(),
        "DELIST_SETTINGS": settings,
        "DELIST_MAX_IMAGE_BYTES": max_image_bytes,
        "DELIST_ALLOW_PRIVATE_ADDRESSES": allow_private_addresses,
        "ITEM_PIPELINES": {"crawler.pipelines.HashImagesPipeline": 300},
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.redirect.RedirectMiddleware": None,
            "scrapy.downloadermiddlewares.redirect.MetaRefreshMiddleware": None,
            # Off anyway; named here so that it does not load what it needs.
            "scrapy.downloadermiddlewares.cookies.CookiesMiddleware": None,
            "crawler.middlewares.TolerantRedirectMiddleware": 600,
            "crawler.middlewares.TolerantMetaRefreshMiddleware": 580,
            "crawler.middlewares.RobotsFileMiddleware": 570,
            "crawler.middlewares.RateLimitMiddleware": 555,
            # Next to the downloader: sees every request, robots.txt and redirects included.
            "crawler.middlewares.AddressGuardMiddleware": 990,
        },
        # The only one that is needed. Two of Scrapy's own would run code that is sent to them; and
        # those that are merely switched off are loaded all the same, an HTTP server among them.
        "EXTENSIONS_BASE": {"scrapy.extensions.corestats.CoreStats": 0},
        "TWISTED_DNS_RESOLVER": "crawler.middlewares.GuardedResolver",
        "DOWNLOAD_HANDLERS": {
            "http": "crawler.handlers.BoundedDownloadHandler",
            "https": "crawler.handlers.BoundedDownloadHandler",
            "data": None,
            "file": None,
            "ftp": None,
            "s3": None,
        },
    }


def shared_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Change Scrapy's settings for a crawler that shares its crawl."""
    return values | {
        "ITEM_PIPELINES": {"crawler.shared_pipeline.SharedImagesPipeline": 300},
        "DOWNLOADER_MIDDLEWARES": {
            **values["DOWNLOADER_MIDDLEWARES"],
            # Outside of what follows redirects: sees the answer that they led to.
            "crawler.shared_robots.SharedRobotsMiddleware": 150,
        },
        # Turns are given out by Redis, one after the other for all machines; a delay of our own
        # would come on top.
        "DOWNLOAD_DELAY": 0,
    }


def _behaviour(settings: CrawlSettings) -> dict[str, Any]:
    return {
        "USER_AGENT": settings.user_agent,
        "ROBOTSTXT_OBEY": settings.obey_robots,
        "DOWNLOAD_DELAY": settings.delay_s,
        "CONCURRENT_REQUESTS": settings.concurrent_requests,
        "CONCURRENT_REQUESTS_PER_DOMAIN": settings.concurrent_per_host,
        "AUTOTHROTTLE_ENABLED": False,
        "COOKIES_ENABLED": False,
        "REFERRER_POLICY": "no-referrer",  # a site does not learn which page led to it
        "HTTPCACHE_ENABLED": False,  # bytes never reach the disk
        "HTTPPROXY_ENABLED": False,  # the environment must not steer us
        "DEFAULT_REQUEST_HEADERS": {"Accept": "*/*", "Accept-Language": "en"},
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    }


def _limits(settings: CrawlSettings, *, max_image_bytes: int) -> dict[str, Any]:
    return {
        # A page link may answer an image, so either limit may be the one that counts.
        "DOWNLOAD_MAXSIZE": max(settings.max_page_bytes, max_image_bytes),
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_TIMEOUT": settings.timeout_s,
        "DNS_TIMEOUT": settings.dns_timeout_s,
        "RETRY_TIMES": settings.retries,
        "RETRY_HTTP_CODES": [500, 502, 504, 522, 524, 408],  # 429, 503: RateLimitMiddleware
        "RETRY_EXCEPTIONS": [  # no timeouts: a server that drips would cost us several
            "scrapy.exceptions.CannotResolveHostError",
            "scrapy.exceptions.DownloadConnectionRefusedError",
            "scrapy.exceptions.DownloadFailedError",
            "scrapy.exceptions.ResponseDataLossError",
            "twisted.internet.error.ConnectError",
            "twisted.internet.error.ConnectionDone",
            "twisted.internet.error.ConnectionLost",
        ],
        "REDIRECT_MAX_TIMES": settings.max_redirects,
        "REDIRECT_ENABLED": True,
        "URLLENGTH_LIMIT": 0,  # the spider counts long URLs instead of dropping them unseen
        "DEPTH_LIMIT": 0,  # the spider counts page links itself
    }


def _silence() -> dict[str, Any]:
    return {
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
        "STATS_DUMP": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,  # would run code that is sent to it
        "MEMUSAGE_ENABLED": False,
        "LOGSTATS_INTERVAL": 0,
    }
