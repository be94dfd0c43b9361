"""How often somebody may call, and how much is hashed at once."""

import asyncio
import threading

import pytest

from delist.web.limits import RateLimiter, network_of
from delist.web.problems import Problem
from delist.web.work import HashingPool


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    """Three at once, then one each half second; whoever waits as told gets the next."""
    limiter = RateLimiter(per_s=2, burst=3)

    first = [limiter.take("a", now_s=100.0) for _ in range(4)]
    wait_s = first[-1]

    assert first[:3] == [0.0, 0.0, 0.0]
    assert wait_s == pytest.approx(0.5)
    assert limiter.take("a", now_s=100.0 + wait_s - 0.01) > 0
    assert limiter.take("a", now_s=100.0 + wait_s) == 0.0
    assert limiter.take("b", now_s=100.0) == 0.0


def test_what_is_given_back_can_be_taken_again() -> None:
    """A unit that was taken in vain is not lost."""
    limiter = RateLimiter(per_s=1, burst=1)
    assert limiter.take("a", now_s=1.0) == 0.0
    limiter.give_back("a")

    assert limiter.take("a", now_s=1.0) == 0.0
    assert limiter.take("a", now_s=1.0) > 0


def test_memory_has_an_end_however_many_ask() -> None:
    """Of many keys those that were seen longest ago are forgotten."""
    limiter = RateLimiter(per_s=1, burst=1, most_keys=10)
    for number in range(1000):
        limiter.take(str(number), now_s=1.0)

    assert len(limiter) == 10
    assert limiter.take("999", now_s=1.0) > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "unknown"),
    ],
)
def test_an_ipv6_network_counts_as_one(address: str, network: str) -> None:
    """Everybody there has 2^64 addresses."""
    assert network_of(address) == network


def test_a_full_queue_refuses_and_a_deadline_ends_waiting() -> None:
    """503 with Retry-After. Work that goes on keeps its place until it has ended."""
    go_on = threading.Event()

    async def tried() -> tuple[list[object], int, bool]:
        pool = HashingPool(threads=1, queue=1, timeout_s=0.2)
        first = asyncio.create_task(pool.run(go_on.wait, 10))
        second = asyncio.create_task(pool.run(go_on.wait, 10))
        await asyncio.sleep(0)
        third = asyncio.create_task(pool.run(go_on.wait, 10))
        results = await asyncio.gather(first, second, third, return_exceptions=True)
        held = pool.taken
        go_on.set()
        again = await pool.run(go_on.is_set)
        pool.close()
        return results, held, again

    results, held, again = asyncio.run(tried())

    problems = [result for result in results if isinstance(result, Problem)]
    assert [problem.code for problem in problems] == ["deadline", "deadline", "queue_full"]
    assert all(problem.status_code == 503 for problem in problems)
    assert all("Retry-After" in (problem.headers or {}) for problem in problems)
    assert (held, again) == (1, True)
