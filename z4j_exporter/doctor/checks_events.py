"""Judges whether events come in, and from whom."""

from z4j_exporter.doctor.facts import Facts, HeardWorker
from z4j_exporter.doctor.model import Finding, Verdict, count, shown, some

_MINUS_E = (
    "Start the workers with -E (--task-events) or set worker_send_task_events = True in the "
    "application. Until their next restart, z4j-exporter doctor --enable-events turns them on."
)
_SENT_EVENT = (
    "Set task_send_sent_event = True in the application of the clients (web processes, beat). "
    "Without it there is no celery_task_sent_total, no queue wait time, and no queue label."
)
#: Seconds without a heartbeat that say nothing: they come every 2 s.
LEAST_SECONDS = 3.0


def check_transport(facts: Facts) -> Finding:
    """Judge whether this kind of broker can carry events from one process to another."""
    title = "Transport"
    if not facts.broker.usable:
        return Finding("transport", title, "problem", facts.broker.error, facts.broker.hint)
    return Finding("transport", title, "ok", f"{shown(facts.broker.system)} carries events")


def check_broker(facts: Facts) -> Finding:
    """Judge whether the broker is there and lets us in."""
    title, broker = "Broker", facts.broker
    if not broker.connected:
        advice = broker.hint or (
            "Check host, port, user, password and TLS in --broker-url (see docs/brokers.md), and "
            "that the broker runs."
        )
        return Finding("broker", title, "problem", f"{broker.location}: {broker.error}", advice)
    if broker.error:
        advice = "Events are lost while it is away: look at the broker's log and the network."
        evidence = f"{broker.location}: the connection broke while listening: {broker.error}"
        return Finding("broker", title, "warning", evidence, advice)
    return Finding("broker", title, "ok", f"connected to {broker.location}")


def check_channels(facts: Facts) -> Finding | None:
    """Judge whether events go by on channels that the exporter does not listen to."""
    title, channels = "Fan-out prefix", facts.channels
    if channels is None:
        return None
    here = f"listening on {shown(channels.configured)}"
    if not channels.looked and not facts.workers:
        advice = (
            "The user may not subscribe to other channels: compare fanout_prefix, "
            "global_keyprefix, event_exchange and the database with the workers' by hand."
        )
        return Finding("fanout-prefix", title, "note", f"{here}; others are unknown", advice)
    if not channels.elsewhere:
        return Finding("fanout-prefix", title, "ok", here)
    others = some([other.channel for other in channels.elsewhere])
    if facts.workers:
        evidence = f"{here}, where workers are heard; another installation is on {others}"
        return Finding("fanout-prefix", title, "ok", evidence)
    settings = sorted({other.setting for other in channels.elsewhere if other.setting})
    advice = "fanout_prefix, global_keyprefix, event_exchange and the database must be the workers'"
    if settings:
        advice = f"If those are your workers, run with {' or '.join(settings)}"
    evidence = f"{here}, where no worker speaks; Celery is on {others}"
    return Finding("fanout-prefix", title, "problem", evidence, f"{advice}.")


def check_workers(facts: Facts) -> Finding:
    """Judge whether workers are alive and heard."""
    if not facts.present and not facts.workers:
        return _no_worker(facts)
    beating = {w.name for w in facts.workers if w.up and w.heartbeats}
    mute = sorted(facts.present - {w.name for w in facts.workers})
    if mute and not facts.workers and facts.channels and facts.channels.elsewhere:
        evidence = f"{some(mute)} answer, their events go elsewhere (see Fan-out prefix)"
        return _workers("skipped", evidence)
    if mute:
        return _workers(
            "warning" if beating else "problem",
            f"{some(mute)}: inspect gets an answer, but no event is heard",
            "Their heartbeats are off (--without-heartbeat), or their event_exchange is another: "
            "start them without that option and with -E, or give --event-exchange.",
        )
    down = sorted(w.name for w in facts.workers if not w.up)
    if down:
        return _workers(
            "warning",
            f"{some(down)} went away; {count(len(beating), 'worker')} up",
            "Nothing to do if that was meant; else look at the worker's log.",
        )
    still = sorted(w.name for w in facts.workers if not w.heartbeats)
    if still:
        return _workers(
            "warning",
            f"{some(still)}: events, but no heartbeat within {facts.listened_seconds:.0f} s",
            "Start them without --without-heartbeat (or with a shorter --heartbeat-interval): "
            "without heartbeats a dead worker cannot be told from an idle one.",
        )
    return _workers("ok", f"{count(len(beating), 'worker')} up: {some(sorted(beating))}")


def _workers(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("workers", "Workers", verdict, evidence, advice)


def _no_worker(facts: Facts) -> Finding:
    if facts.channels is not None and facts.channels.elsewhere:
        return _workers("skipped", "none where the exporter listens (see Fan-out prefix)")
    if facts.listened_seconds < LEAST_SECONDS:
        evidence = f"no heartbeat yet, after {facts.listened_seconds:.0f} s"
        return _workers("skipped", evidence)
    silence = f"no heartbeat within {facts.listened_seconds:.0f} s"
    if facts.asked:
        silence += ", and nobody answers"
    connected = _connected(facts)
    if connected:
        return _workers(
            "warning",
            f"{connected}, but silent: {silence}",
            "A solo pool says nothing while a task runs: listen for longer than its longest task "
            "(--listen 300). If it stays silent, the worker hangs: look at its log.",
        )
    places = {"rabbitmq": " (its vhost too)", "redis": " (its database number too)"}
    place = places.get(facts.broker.system, "")
    return _workers(
        "problem",
        silence,
        f"Start a worker, or check that the broker URL{place} is the workers' own.",
    )


def _connected(facts: Facts) -> str:
    """Say who is connected as a worker would be, though nothing is heard; "" if nobody."""
    listeners = facts.channels.listeners if facts.channels is not None else None
    if listeners:
        return f"{count(listeners, 'worker')} connected"
    if facts.polls:
        consumed = [r.name for r in facts.polls[-1].readings if r.consumers]
        if consumed:
            return f"queue {some(consumed)} has a consumer"
    return ""


def check_task_events(facts: Facts) -> Finding:
    """Judge whether each worker tells what becomes of its tasks."""
    heard = [w for w in facts.workers if w.up]
    enabled = facts.enabled or {}
    off = [w for w in heard if w.ran > 0 and w.task_events == 0]
    if off:
        told = ", ".join(_ran(w) for w in off[:3])
        more = f" and {len(off) - 3} more" if len(off) > 3 else ""
        return _task_events("problem", f"{told}{more}, but sent no task event", _MINUS_E)
    lacking = [w for w in heard if w.task_events is None and w.missing]
    if lacking:
        told = ", ".join(f"{shown(w.name)} {w.missing}" for w in lacking[:3])
        advice = "Task events are off there, a task has send_events = False, or events were lost. "
        evidence = f"tasks that ran and were never heard of: {told}"
        return _task_events("warning", evidence, advice + _MINUS_E)
    sending = [w.name for w in heard if w.task_events]
    unknown = [w.name for w in heard if not w.task_events and w.name not in enabled]
    if not heard:
        return _task_events("skipped", "no worker is heard")
    if all(w.task_events is None for w in heard):
        return _task_events("ok", "no worker counts tasks whose events did not come")
    if unknown and not sending and not enabled:
        evidence = "unknown: no task ran while listening"
        return _task_events(
            "note", evidence, "Run a task meanwhile, or listen for longer (--listen 60)."
        )
    evidence = f"on: {some(sending or sorted(enabled))}"
    if unknown:
        evidence += f"; ran no task, so unknown: {some(unknown)}"
    return _task_events("ok", evidence)


def _task_events(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("task-events", "Task events", verdict, evidence, advice)


def _ran(worker: HeardWorker) -> str:
    return f"{shown(worker.name)} ran {count(worker.ran, 'task')}"


def check_task_sent(facts: Facts) -> Finding | None:
    """Judge whether clients tell that they sent a task."""
    sent = facts.sent
    if sent is None:
        return None
    if sent.sent and sent.matched * 2 >= sent.received:
        return _task_sent("ok", f"{count(sent.sent, 'task')} announced by clients")
    if not sent.received:
        return _task_sent("skipped", "no new task was received while listening")
    if sent.sent:
        evidence = f"{sent.matched} of {count(sent.received, 'new task')} were announced"
        hint = "Some clients send no task-sent, or the tasks had waited before. "
        return _task_sent("note", evidence, hint + _SENT_EVENT)
    evidence = f"{count(sent.received, 'new task')} received, no task-sent heard"
    arrived = sent.received + _growth(facts) if len(facts.polls) > 1 else 0
    if arrived <= 0:
        return _task_sent("note", f"{evidence}; they may have waited since before")
    return _task_sent("warning", evidence, _SENT_EVENT)


def _growth(facts: Facts) -> int:
    """Return by how many ready messages the queues grew between the looks at them."""
    first, last = facts.polls[0], facts.polls[-1]
    if not (first.success and last.success):
        return -(10**9)  # unknown: as if all had waited
    before, after = (sum(sum((r.ready or {}).values()) for r in p.readings) for p in (first, last))
    return after - before


def _task_sent(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("task-sent", "Sent events", verdict, evidence, advice)


def check_refused(facts: Facts) -> Finding | None:
    """Tell of events that could not be read."""
    if not facts.refused:
        return None
    reasons = ", ".join(f"{shown(why)} {n}" for why, n in sorted(facts.refused.items()))
    advice = "Someone publishes what is no event, or event_serializer is not json, msgpack or yaml."
    if "unsafe_content_type" in facts.refused:
        advice = "Set event_serializer = 'json' in the application: pickle is never read."
    evidence = f"{count(sum(facts.refused.values()), 'message')} could not be read: {reasons}"
    return Finding("readable", "Readable events", "warning", evidence, advice)


def check_enabled(facts: Facts) -> Finding | None:
    """Tell what --enable-events did."""
    if facts.enabled is None:
        return None
    title = "Enable events"
    if not facts.enabled:
        advice = "Workers must be up, with worker_enable_remote_control; a busy solo pool waits."
        return Finding("enable-events", title, "warning", "no worker answered", advice)
    already = [name for name, answer in facts.enabled.items() if "already" in answer]
    turned = [name for name in facts.enabled if name not in already]
    parts = [f"turned on: {some(turned)}"] if turned else []
    parts += [f"were on: {some(already)}"] if already else []
    advice = "A restart of the worker undoes it: make it last with -E." if turned else ""
    return Finding("enable-events", title, "note", "; ".join(parts), advice)
