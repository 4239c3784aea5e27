"""When the demo's traffic calls what."""

import itertools
from random import Random

import pytest

from z4j_exporter.demo.scenarios import SCENARIOS
from z4j_exporter.demo.traffic import Agenda, plan


def test_the_same_seed_gives_the_same_traffic() -> None:
    first, again, other = (
        list(itertools.islice(plan(10, Random(seed)), 200)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_tour_at_the_start_plays_every_scenario_once_within_seconds() -> None:
    tour = list(itertools.islice(plan(10, Random(1)), len(SCENARIOS)))
    assert {visit.scenario.name for visit in tour} == {scenario.name for scenario in SCENARIOS}
    assert tour[-1].at_seconds < 5


@pytest.mark.parametrize("rate", [1.0, 20.0, 200.0])
def test_the_rate_is_kept(rate: float) -> None:
    visits = list(itertools.islice(plan(rate, Random(3)), len(SCENARIOS), 20_000))
    seconds = visits[-1].at_seconds - visits[0].at_seconds
    tasks = sum(visit.scenario.tasks for visit in visits)
    assert tasks / seconds == pytest.approx(rate, rel=0.05)


def test_time_never_runs_backwards() -> None:
    times = [visit.at_seconds for visit in itertools.islice(plan(10, Random(4)), 500)]
    assert times == sorted(times)


def test_the_agenda_runs_what_is_due_in_order() -> None:
    ran: list[str] = []
    agenda = Agenda()
    agenda.add(2, lambda: ran.append("second"))
    agenda.add(1, lambda: ran.append("first"))
    agenda.add(2, lambda: ran.append("third"))
    agenda.add(9, lambda: ran.append("last"))
    agenda.run_due(0.5)
    assert ran == []
    assert agenda.next_at_seconds() == 1
    agenda.run_due(2)
    assert ran == ["first", "second", "third"]
    assert agenda.next_at_seconds() == 9


def test_an_action_may_add_one_that_is_due_at_once() -> None:
    ran: list[str] = []
    agenda = Agenda()
    agenda.add(1, lambda: agenda.add(1, lambda: ran.append("nested")))
    agenda.run_due(1)
    assert ran == ["nested"]
    assert agenda.next_at_seconds() is None
