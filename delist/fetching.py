"""Asking addresses that strangers chose: guarded, in small answers, never by way of a proxy.

(1) The host as written is checked, its name is looked up once, and every address that it has
    must be public; the connection goes to one of these very addresses. So neither a redirect nor
    a second look-up leads anywhere else.
(2) An answer is read to a limit, as it comes, never decompressed, and cut at a deadline.

Redirects are for the caller, who asks anew for each.
"""

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from delist.errors import FetchError
from indexer.address import check_host, is_public
from indexer.deadline import Deadline
from indexer.errors import AddressRefusedError
from indexer.tls import public_tls

# These log every request with its address, at INFO and DEBUG; none may reach a log.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)

OK, REDIRECTS = 200, frozenset({301, 302, 303, 307, 308})
_MAX_ADDRESSES = 3
_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Sequence[str]]
"""Addresses of a host name, as text; raises OSError where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What looking at one place may cost.

    Attributes:
        timeout_s: longest silence.
        deadline_s: longest time for all of it, redirects included.
    """

    timeout_s: float = 5.0
    deadline_s: float = 15.0


def resolve_name(host: str, port: int) -> list[str]:
    """Look a host name up; raises OSError where it has no address."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedFetch:
    """Asks one address at a time."""

    def __init__(
        self,
        *,
        user_agent: str,
        allow_private: bool = False,
        resolve: Resolve = resolve_name,
        limits: FetchLimits = FetchLimits(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Set up what every request follows.

        Args:
            user_agent: who asks.
            allow_private: connect to addresses that are not public, too.
            resolve: looks names up.
            limits: of one place.
            tls: whose certificates count; None for those of the public web.
        """
        self.limits = limits
        self._user_agent = user_agent
        self._allow_private = allow_private
        self._resolve = resolve
        self._tls = tls

    def ask(self, url: str, *, max_bytes: int, deadline: Deadline) -> tuple[httpx2.Response, bytes]:
        """Ask once; returns the answer and, of status 200, its first bytes.

        Args:
            url: canonical.
            max_bytes: most that is read, inclusive.
            deadline: of the whole look at this place.

        Raises:
            FetchError: there is no whole answer; says why, and names no address.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        failure = FetchError("the name has no address")
        for address in self._addresses(host, port)[:_MAX_ADDRESSES]:  # (1)
            if deadline.passed:
                break
            try:
                return self._ask_at(address, url, max_bytes, deadline)
            except httpx2.ConnectError:
                failure = FetchError("no connection")
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                failure = FetchError(f"no whole answer ({type(error).__name__})")
                break
        if deadline.passed:
            raise FetchError(f"no whole answer within {self.limits.deadline_s:g} s")
        raise failure

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        if not self._allow_private:
            try:
                check_host(host)
            except AddressRefusedError as error:
                raise FetchError(str(error)) from None
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise FetchError("the name has no address") from None
        if not self._allow_private and not all(map(is_public, found)):
            raise FetchError("the host is not a public address")
        return found

    def _ask_at(
        self, address: str, url: str, max_bytes: int, deadline: Deadline
    ) -> tuple[httpx2.Response, bytes]:
        parts = urlsplit(url)
        with (
            httpx2.Client(
                verify=self._tls or public_tls(), trust_env=False, timeout=self.limits.timeout_s
            ) as client,
            client.stream(
                "GET",
                httpx2.URL(url).copy_with(host=address),
                headers={
                    "Host": parts.netloc.rpartition("@")[2],
                    "Accept-Encoding": "identity",
                    "User-Agent": self._user_agent,
                },
                # The certificate has to be the name's, whatever address it was found at.
                extensions={"trace": deadline.note, "sni_hostname": parts.hostname},
                follow_redirects=False,
            ) as response,
        ):
            body = bytearray()
            if response.status_code == OK:
                for chunk in response.iter_raw():  # (2)
                    body += chunk
                    if len(body) >= max_bytes or deadline.passed:
                        break
            if deadline.passed:
                raise httpx2.ReadTimeout("deadline")
            return response, bytes(body[:max_bytes])
