"""Tickets: what one page hands to the next in a form, so that no secret is typed or sent again.

Encrypted and authenticated (Fernet), bound to what they are for, and good for some minutes.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cryptography.fernet import Fernet, InvalidToken


class TicketError(Exception):
    """A ticket is none of ours, is for something else, or is too old; holds no value."""


class Tickets:
    """Makes and reads tickets.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes, clock: Callable[[], datetime]) -> None:
        self._fernet = Fernet(urlsafe_b64encode(hmac.digest(key, b"tickets", "sha256")))
        self._clock = clock

    def make(self, purpose: str, **values: str) -> str:
        """Make a ticket that says something to a page of ours."""
        text = json.dumps({"for": purpose, **values}).encode()
        return self._fernet.encrypt_at_time(text, int(self._clock().timestamp())).decode()

    def read(self, purpose: str, ticket: str, *, minutes: int) -> dict[str, Any]:
        """Read a ticket that is at most so old.

        Raises:
            TicketError: see there.
        """
        now = int(self._clock().timestamp())
        try:
            plain = self._fernet.decrypt_at_time(
                ticket.encode(errors="replace"), ttl=60 * minutes, current_time=now
            )
        except InvalidToken:
            raise TicketError from None
        values: dict[str, Any] = json.loads(plain)
        if values.pop("for") != purpose:
            raise TicketError
        return values
