"""What TLS is spoken with by whatever here asks others."""

import ssl
from functools import cache

import httpx2


@cache
def public_tls() -> ssl.SSLContext:
    """Trust the certificates of the public web, whatever the environment names.

    Made once in a process, and shared by all its threads: reading all certificates takes 40 ms
    of processor time and 0.8 MiB in eleven thousand pieces. Made anew every few seconds, they were
    what ``delist run`` grew by (docs/adr/0050).
    """
    return httpx2.create_ssl_context(trust_env=False)
