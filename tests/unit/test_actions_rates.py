"""Rates: so many at once, so many more a second, and never more buckets than agreed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from z4j_exporter.actions.rates import Buckets, Rate, RateLimitedError, RateLimits, peer_key


def test_a_burst_then_the_rate() -> None:
    buckets = Buckets(Rate(per_second=2.0, burst=3.0))
    assert [buckets.take("a", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", 10.0) == 0, "another key has its own"
    assert buckets.take("a", 10.25) == pytest.approx(0.25)
    assert buckets.take("a", 10.5) == 0
    assert buckets.take("a", 10.5) > 0
    assert [buckets.take("a", 1e6) for _ in range(4)] == [0, 0, 0, 0.5], "never more than a burst"


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    buckets = Buckets(Rate(per_second=1.0, burst=1.0))
    assert buckets.take("a", 5.0) == 0
    assert buckets.take("a", 4.0) == 1
    assert buckets.take("a", 5.0) <= 1
    assert len(buckets) == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), max_size=60),
    st.floats(0.1, 10),
    st.integers(1, 10),
)
def test_no_key_ever_takes_more_than_its_share(
    steps: list[tuple[float, int]], per_second: float, burst: int
) -> None:
    buckets = Buckets(Rate(per_second, float(burst)), capacity=10)
    now, taken = 100.0, dict.fromkeys(range(4), 0)
    for passed, key in steps:
        now += passed
        taken[key] += buckets.take(key, now) == 0
    for count in taken.values():
        assert count <= burst + per_second * (now - 100.0) + 1e-6


def test_many_keys_take_no_more_memory_and_share_one_bucket() -> None:
    buckets = Buckets(Rate(per_second=1.0, burst=2.0), capacity=100)
    let_in = sum(buckets.take(f"peer{number}", 50.0) == 0 for number in range(10_000))
    assert len(buckets) == 100
    assert let_in == 100 + 2, "those who have no bucket share one burst"
    assert buckets.take("peer0", 50.0) == 0, "who has one keeps it"
    assert buckets.take("peer0", 50.0) > 0
    # After the time that fills a bucket an unused one is like none.
    assert buckets.take("late", 52.5) == 0
    assert len(buckets) == 1


def test_a_bucket_in_use_is_not_pushed_out_by_new_keys() -> None:
    buckets = Buckets(Rate(per_second=0.1, burst=1.0), capacity=3)
    assert buckets.take("guesser", 0.0) == 0
    for number in range(50):
        buckets.take(f"other{number}", 1.0)
    assert buckets.take("guesser", 2.0) > 0


def test_actors_and_peers_are_counted_apart() -> None:
    limits = RateLimits(1.0, failures=Rate(1.0, 1.0))
    assert [limits.request("a", 0.0) == 0 for _ in range(6)] == [True] * 5 + [False]
    assert [limits.failure("a", 0.0) == 0 for _ in range(2)] == [True, False]


def test_a_slow_rate_still_lets_one_through() -> None:
    assert RateLimits(0.01).request("a", 0.0) == 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("", ""),
        ("x" * 9999, ""),
    ],
)
def test_whose_bucket(address: str | None, key: str) -> None:
    assert peer_key(address) == key


def test_retry_after_is_whole_seconds_and_at_least_one() -> None:
    assert [RateLimitedError("actor", wait).retry_after for wait in (0.01, 1.0, 1.2)] == [1, 1, 2]
    error = RateLimitedError("peer", 1)
    assert (error.kind, error.status) == ("rate-limited", 429)
