"""Judges the workers themselves: their clocks, versions, and whether they take orders."""

from z4j_exporter.doctor.facts import Facts
from z4j_exporter.doctor.model import Finding, Verdict, count, shown, some

#: Seconds by which clocks may differ before durations between machines are wrong.
SKEW_SECONDS = 5.0
#: The oldest major version of Celery whose events are known for certain.
_OLDEST_MAJOR = 5


def check_control(facts: Facts) -> Finding:
    """Judge whether workers answer questions."""
    if not facts.asked:
        return _control("skipped", "workers were not asked")
    if facts.fleet is None or not facts.fleet.success:
        why = (
            facts.fleet.error if facts.fleet is not None else "the broker took no question in time"
        )
        return _control("note", f"workers could not be asked: {why}")
    heard = {w.name for w in facts.workers if w.up}
    silent = sorted(heard - facts.answered)
    if not heard and not facts.answered:
        return _control("skipped", "nobody is there to answer")
    if silent:
        return _control(
            "note",
            f"no answer from {some(silent)}",
            "worker_enable_remote_control is off there, or a solo pool was busy. Of workers that "
            "never answer, pool size, queues and (after a restart) names of tasks are unknown.",
        )
    return _control("ok", f"{count(len(facts.answered), 'worker')} answered")


def _control(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("control", "Remote control", verdict, evidence, advice)


def check_clock(facts: Facts) -> Finding:
    """Judge whether the workers' clocks agree with ours."""
    skews = {w.name: w.clock_skew for w in facts.workers if w.clock_skew is not None}
    if not skews:
        return _clock("skipped", "no worker is heard")
    wrong = {name: skew for name, skew in skews.items() if abs(skew) > SKEW_SECONDS}
    if not wrong:
        largest = max(skews.values(), key=abs)
        return _clock("ok", f"within {max(abs(largest), 0.1):.1f} s of this machine's")
    told = ", ".join(
        f"{shown(name)} is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        for name, skew in sorted(wrong.items())[:3]
    )
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    if len(wrong) == len(skews) > 1:
        where = "All workers differ: this machine's clock may be the wrong one."
    else:
        where = "Times between machines (queue wait, end to end) come out wrong."
    return _clock("warning", f"{told}{more}", f"Set the clocks with NTP. {where}")


def _clock(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("clock", "Clocks", verdict, evidence, advice)


def check_versions(facts: Facts) -> Finding:
    """Judge the versions of Celery that the workers run."""
    versions: dict[str, list[str]] = {}
    for worker in facts.workers:
        if worker.version:
            versions.setdefault(worker.version, []).append(worker.name)
    if not versions:
        return _versions("skipped", "no worker told its version")
    listed = ", ".join(
        f"{shown(version)} ({count(len(names), 'worker')})"
        for version, names in sorted(versions.items())[:5]
    )
    old = [version for version in versions if _major(version) < _OLDEST_MAJOR]
    if old:
        advice = f"Celery before {_OLDEST_MAJOR} is not tested: it lacks fields and event types."
        return _versions("note", listed, advice)
    if len(versions) > 1:
        return _versions("note", f"mixed: {listed}", "Different versions send different events.")
    return _versions("ok", listed)


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isascii() and head.isdigit() and len(head) < 4 else _OLDEST_MAJOR


def _versions(verdict: Verdict, evidence: str, advice: str = "") -> Finding:
    return Finding("versions", "Celery version", verdict, evidence, advice)
