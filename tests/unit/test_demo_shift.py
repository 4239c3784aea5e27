"""When the worker that works in shifts comes and goes."""

from z4j_exporter.demo.shift import Shift


class Worker:
    """Stands for a process."""


def test_it_comes_after_a_while_and_goes_and_comes_again() -> None:
    told: list[tuple[float, str]] = []
    now = 0.0

    def come() -> Worker:
        told.append((now, "came"))
        return Worker()

    def go(worker: Worker) -> None:
        assert isinstance(worker, Worker)
        told.append((now, "went"))

    shift = Shift(come, go)  # type: ignore[arg-type]
    for second in range(100, 300):
        now = float(second)
        shift.turn(now)
    assert told == [
        (108.0, "came"), (158.0, "went"), (183.0, "came"), (233.0, "went"), (258.0, "came")
    ]  # fmt: skip
