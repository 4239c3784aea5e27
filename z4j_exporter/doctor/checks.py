"""All checks, in the order in which a person would look; each turns facts into a finding."""

from collections.abc import Callable, Sequence

from z4j_exporter.doctor.checks_events import (
    check_broker,
    check_channels,
    check_enabled,
    check_refused,
    check_task_events,
    check_task_sent,
    check_transport,
    check_workers,
)
from z4j_exporter.doctor.checks_fleet import check_clock, check_control, check_versions
from z4j_exporter.doctor.checks_queues import check_consumers, check_management, check_queues
from z4j_exporter.doctor.facts import Facts
from z4j_exporter.doctor.model import Finding, count, shown

Check = Callable[[Facts], Finding | None]


def check_backend(facts: Facts) -> Finding | None:
    """Judge whether the result backend keeps what a retry needs."""
    title, backend = "Result backend", facts.backend
    if backend is None:
        return None
    if not backend.kind:
        evidence = "the application has none"
        advice = "Metrics need none; retries of failed tasks do, with result_extended = True."
        return Finding("result-backend", title, "note", evidence, advice)
    if not backend.extended or backend.ignored:
        lacks = "result_extended is off" if not backend.extended else "task_ignore_result is on"
        wants = "result_extended = True" if not backend.extended else "task_ignore_result = False"
        advice = f"Metrics need nothing more; for retries of failed tasks set {wants}."
        return Finding("result-backend", title, "note", f"{shown(backend.kind)}; {lacks}", advice)
    return Finding("result-backend", title, "ok", f"{shown(backend.kind)}, with result_extended")


def check_exposure(facts: Facts) -> Finding | None:
    """Judge whether /metrics could show within its limits what was heard."""
    title, exposure = "Exposition", facts.exposure
    if exposure is None:
        return None
    if not exposure.series:
        return Finding("exposition", title, "skipped", "there is nothing to show yet")
    evidence = (
        f"{count(exposure.series, 'sample')} in {exposure.families} families from "
        f"{count(exposure.task_names, 'task name')} (profile {exposure.profile})"
    )
    if exposure.overflowed or exposure.largest_series >= exposure.max_series:
        evidence += f"; {exposure.largest} has {exposure.largest_series} series"
        advice = (
            f"--max-series is {exposure.max_series}: what is beyond it counts as __overflow__. Are "
            "names of tasks or queues generated? Then see --task-label-deny."
        )
        return Finding("exposition", title, "warning", evidence, advice)
    return Finding("exposition", title, "ok", evidence)


#: The checks that a failed one of the first two makes pointless.
_CONNECTED: Sequence[Check] = (
    check_enabled,
    check_workers,
    check_channels,
    check_task_events,
    check_task_sent,
    check_refused,
    check_control,
    check_clock,
    check_versions,
    check_queues,
    check_consumers,
    check_management,
    check_backend,
    check_exposure,
)


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return what all checks find. Without a connection there is nothing else to judge."""
    transport = check_transport(facts)
    if not facts.broker.usable:
        return (transport,)
    broker = check_broker(facts)
    if not facts.broker.connected:
        return (transport, broker)
    findings = (check(facts) for check in _CONNECTED)
    return (transport, broker, *(finding for finding in findings if finding is not None))
