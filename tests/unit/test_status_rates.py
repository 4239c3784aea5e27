"""The rates of the status page on a stepped clock, and the quantiles of the lag."""

import math

import pytest

from z4j_exporter.status.lag import quantile
from z4j_exporter.status.rates import INTERVAL_SECONDS, POINTS, Counts, Reading, Sampler
from z4j_exporter.web.status import Rate

WALL = 1_790_000_000.0


class Rig:
    """A sampler, what it reads, and its clock."""

    def __init__(self) -> None:
        self.reading = Reading(Counts(0, 0, 0, 0), (0, 0), heard=True, breaks=1)
        self.sampler = Sampler(lambda: self.reading)
        self.now = 50.0

    def set(self, **values: object) -> "Rig":
        self.reading = self.reading._replace(**values)
        return self

    def wait(self, seconds: float = INTERVAL_SECONDS) -> int:
        """Tick every second; return how many intervals ended."""
        ended = 0
        for _ in range(round(seconds)):
            self.now += 1.0
            ended += self.sampler.tick(self.now, WALL + self.now)
        return ended


def test_there_is_nothing_before_the_first_interval_has_ended() -> None:
    rig = Rig()
    rig.sampler.tick(rig.now, WALL + rig.now)
    assert rig.wait(INTERVAL_SECONDS - 1) == 0
    assert rig.sampler.rates() == []
    rig.set(counts=Counts(5, 4, 1, 2))
    assert rig.wait(1) == 1
    assert rig.sampler.rates() == [Rate(WALL + rig.now, INTERVAL_SECONDS, 5, 4, 1, 2)]


def test_each_interval_tells_what_came_in_it() -> None:
    rig = Rig()
    rig.wait(1)
    for total in (3, 3, 10):
        rig.set(counts=Counts(total, 0, 0, 0)).wait()
    assert [rate.started for rate in rig.sampler.rates()] == [3, 0, 7]
    assert [rate.at for rate in rig.sampler.rates()] == [WALL + 66, WALL + 81, WALL + 96]


def test_the_first_interval_begins_with_the_connection() -> None:
    rig = Rig().set(heard=False, breaks=0)
    assert rig.wait(40) == 0
    rig.set(heard=True, breaks=1).wait(1)
    rig.set(counts=Counts(2, 0, 0, 0))
    assert rig.wait() == 1
    assert rig.sampler.rates()[0].started == 2


def test_what_a_gap_touches_is_not_known() -> None:
    rig = Rig()
    rig.wait(1)
    rig.set(counts=Counts(1, 1, 1, 1)).wait()
    rig.set(counts=Counts(2, 2, 2, 2), breaks=2).wait()  # lost and back within the interval
    rig.set(heard=False).wait()
    rig.set(heard=True).wait()
    rig.set(counts=Counts(9, 2, 2, 2)).wait()
    told = [rate[2:] for rate in rig.sampler.rates()]
    unknown = (None, None, None, None)
    assert told == [(1, 1, 1, 1), unknown, unknown, unknown, (7, 0, 0, 0)]


def test_an_applier_that_was_held_up_makes_one_longer_interval() -> None:
    rig = Rig()
    rig.wait(1)
    rig.now += 100.0
    rig.set(counts=Counts(200, 0, 0, 0))
    assert rig.sampler.tick(rig.now, WALL + rig.now)
    assert rig.sampler.rates() == [Rate(WALL + rig.now, 100.0, 200, 0, 0, 0)]


def test_an_end_that_is_taken_back_is_not_a_negative_rate() -> None:
    rig = Rig()
    rig.wait(1)
    rig.set(counts=Counts(1, 0, 2, 0)).wait()
    rig.set(counts=Counts(1, 0, 1, 0)).wait()
    assert [rate.failed for rate in rig.sampler.rates()] == [2, 0]


def test_the_end_of_a_recording_is_no_endless_silence() -> None:
    rig = Rig()
    rig.wait(1)
    rig.set(counts=Counts(4, 4, 0, 0), over=True)
    assert rig.wait(600) == 1
    assert [rate.started for rate in rig.sampler.rates()] == [4]


def test_old_intervals_are_forgotten() -> None:
    rig = Rig()
    rig.wait(1)
    for total in range(1, POINTS + 31):
        rig.set(counts=Counts(total, 0, 0, 0), lags=(total, 0)).wait()
    rates = rig.sampler.rates()
    assert len(rates) == POINTS
    assert rates[-1].at - rates[0].at == (POINTS - 1) * INTERVAL_SECONDS
    assert rig.sampler.lags() == [POINTS, 0]  # those of that time alone


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        ((0, 0, 0), 0.5, None),
        ((4, 0, 0), 0.5, 0.5),
        ((4, 4, 0), 0.5, 1.0),
        ((0, 4, 0), 0.5, 2.0),
        ((1, 1, 2), 0.5, 3.0),
        ((0, 0, 7), 0.5, 3.0),  # no more is known than that it is beyond
        ((99, 0, 1), 0.99, 1.0),
        ((98, 0, 2), 0.99, 3.0),
        ((2, 0, 0), 0.0, 0.0),
        ((0, 2, 0), 0.0, 1.0),
        ((1, 1, 0), 1.0, 3.0),
    ],
)
def test_quantiles_are_prometheus_s(
    counts: tuple[int, ...], q: float, expected: float | None
) -> None:
    found = quantile(q, (1.0, 3.0), counts)
    assert found is None if expected is None else math.isclose(found or 0.0, expected, abs_tol=1e-9)
