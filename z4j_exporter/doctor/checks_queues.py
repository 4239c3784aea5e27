"""Judges the queues: whether they can be read, and whether somebody takes what waits there."""

from z4j_exporter.doctor.facts import Facts
from z4j_exporter.doctor.model import Finding, Verdict, count, shown, some
from z4j_exporter.queues.model import QueueReading

#: More than any queue holds: it cannot have grown since.
_UNKNOWN = 10**12


def check_queues(facts: Facts) -> Finding:
    """Judge whether the queues can be read."""
    if not facts.polls:
        return _queues("skipped", "they were not looked at")
    last = facts.polls[-1]
    if not last.success:
        advice = "Without it there are no queue_* metrics; the exporter's user needs read access."
        return _queues("warning", last.error or "they could not be read", advice)
    took = f"{count(len(last.readings), 'queue')} in {last.duration_seconds * 1000:.0f} ms"
    if not last.readings:
        return _queues("skipped", "no queue is known yet")
    if last.notes and last.method != "declare":  # of that check_management tells
        return _queues("note", f"{took}; {last.notes[0]}")
    return _queues("ok", took)


def _queues(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("queues", "Queues", verdict, evidence, advice)


def check_consumers(facts: Facts) -> Finding:
    """Judge whether a queue holds messages that nobody takes."""
    if not facts.polls or not facts.polls[-1].success:
        return _consumers("skipped", "the queues were not read")
    readings = facts.polls[-1].readings
    if not facts.present:
        return _consumers("skipped", "no worker is there (see Workers)")
    consumed = _consumed(facts)
    waiting = [r for r in readings if _depth(r) and _unconsumed(r, consumed)]
    unknown = [r for r in readings if _depth(r) and r.consumers is None and consumed is None]
    if not waiting:
        if unknown:
            evidence = (
                f"messages wait in {some([r.name for r in unknown])}; who consumes is unknown"
            )
            return _consumers("note", evidence)
        return _consumers("ok", "somebody takes from every queue that holds messages")
    growing = [r for r in waiting if _depth(r) > _depth_before(facts, r.name)]
    worst = max(growing or waiting, key=_depth)
    evidence = f"{shown(worst.name)} holds {count(_depth(worst), 'message')}"
    if growing:
        evidence += f" ({_depth(worst) - _depth_before(facts, worst.name)} more than at first)"
    evidence += " and no worker consumes it"
    if len(waiting) > 1:
        evidence += f"; so do {count(len(waiting) - 1, 'other queue')}"
    advice = f"Start a worker with -Q {shown(worst.name)}, or route its tasks to another queue."
    return _consumers("problem" if growing else "warning", evidence, advice)


def _consumers(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("consumers", "Consumers", verdict, evidence, advice)


def _consumed(facts: Facts) -> frozenset[str] | None:
    """Return the queues that workers consume; None unless every one of them told."""
    if facts.fleet is None or not facts.fleet.success:
        return None
    told = {w.name: w.queues for w in facts.fleet.workers if w.queues is not None}
    if not told or facts.present - set(told):
        return None
    # A worker that is busy answers nobody, but it is connected.
    listeners = facts.channels.listeners if facts.channels is not None else None
    if listeners is not None and listeners > len(told):
        return None
    return frozenset(name for queues in told.values() for name in queues)


def _unconsumed(reading: QueueReading, consumed: frozenset[str] | None) -> bool:
    if reading.consumers is not None:
        return reading.consumers == 0
    return consumed is not None and reading.name not in consumed


def _depth(reading: QueueReading) -> int:
    return sum((reading.ready or {}).values())


def _depth_before(facts: Facts, name: str) -> int:
    """Return how many messages waited at the first look; where it does not tell, very many."""
    first = facts.polls[0]
    if first is facts.polls[-1] or not first.success:
        return _UNKNOWN
    return next((_depth(r) for r in first.readings if r.name == name), _UNKNOWN)


def check_management(facts: Facts) -> Finding | None:
    """Judge whether RabbitMQ's management API answers."""
    if facts.broker.system != "rabbitmq" or not facts.polls:
        return None
    title, last = "Management API", facts.polls[-1]
    if not last.success:
        return Finding("management", title, "skipped", "the queues were not read (see Queues)")
    if last.method == "management":
        return Finding("management", title, "ok", "it lists the queues of the vhost")
    why = last.notes[0] if last.notes else "it could not be used"
    return Finding(
        "management",
        title,
        "warning",
        why,
        "rabbitmq-plugins enable rabbitmq_management, or give --rabbitmq-management-url with a "
        "user that has the tag monitoring. Queues that nobody names are not seen without it.",
    )
