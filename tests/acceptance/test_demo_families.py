"""Every metric family has data in the demo, but for those that are named here, with the reason."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import Process, scratch, start, wait_until

COMMAND = str(Path(sys.executable).with_name("z4j-exporter"))
#: Seconds until all of it must have happened once, the shift's worker away included: it leaves
#: about a minute after the start.
FULL_SECONDS = 150.0

_RABBITMQ = "only RabbitMQ tells it, and the demo's broker speaks Redis"
#: Families without any series in the demo.
ABSENT = {
    "celery_queue_consumers": _RABBITMQ,
    "celery_queue_memory_bytes": _RABBITMQ,
    "celery_queue_messages_published_total": _RABBITMQ,
    "celery_queue_messages_delivered_total": _RABBITMQ,
    "celery_queue_messages_acked_total": _RABBITMQ,
    "celery_exporter_series_dropped_total": "its series come with the first update beyond the cap",
    "celery_exporter_web_config_current": "the demo has no web configuration file",
}
#: Families that have series, and what must not be zero in them (a part of the line): all that a
#: panel would otherwise show as a flat line.
MOVING = {
    "celery_task_published_total": 'priority="9"',
    "celery_group_finished_total": 'kind="chord",outcome="failed"',
    "celery_group_member_failures_total": "",
    "celery_queue_oldest_message_age_seconds": 'queue="reports"',
    "celery_exporter_spans_exported_total": "",
    "celery_exporter_otlp_export_duration_seconds_count": 'signal="metrics",outcome="ok"',
    "celery_exporter_capture_sent_total": "",
    "celery_exporter_journal_records_total": "",
    "celery_exporter_actions_total": 'action="retry",outcome="done"',
    "celery_exporter_action_auth_failures_total": "",
    "celery_exporter_action_denials_total": 'reason="role"',
    "celery_exporter_alert_rules_total": 'decision="done"',
    "celery_exporter_alert_notifications_total": 'code="202"',
    "celery_exporter_audit_entries": "",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Process]:
    """A demo in full swing."""
    directory = scratch("families")
    (directory / "tmp").mkdir()
    process = start(
        "demo",
        [COMMAND, "demo", "--listen-address", "127.0.0.1:0", "--log-file", "all.log"],
        directory=directory,
        env={"TMPDIR": str(directory / "tmp")},
    )
    yield process
    if process.popen.poll() is None:
        process.signal(signal.SIGTERM)
        process.wait(25)


@pytest.fixture(scope="module")
def url(demo: Process) -> str:
    def told() -> re.Match[str] | None:
        assert demo.popen.poll() is None, demo.output()
        return re.search(r"Open (http://\S+)/ ", demo.output())

    found = wait_until(told, 60, demo.output)
    assert found
    return found[1]


def _families() -> set[str]:
    """Return the names of the catalogue."""
    listed = subprocess.run(
        [COMMAND, "metrics"], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    return {line.split()[0] for line in listed.splitlines() if line[:1].strip()}


def _scraped(url: str) -> str:
    return httpx.get(f"{url}/metrics", timeout=10).text


def _with_series(text: str) -> set[str]:
    names = set()
    for family in text_string_to_metric_families(text):
        if family.samples:
            names |= {family.name, f"{family.name}_total"}
    return names


def _still(text: str) -> list[str]:
    """Return those of MOVING that do not move."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [
        name
        for name, part in MOVING.items()
        if not any(
            re.match(rf"{name}[{{ ]", line) and part in line and float(line.split()[-1]) > 0
            for line in lines
        )
    ]


def test_every_family_has_series_or_a_reason_to_have_none(url: str) -> None:
    catalogue = _families()
    assert len(catalogue) > 80
    assert set(ABSENT) <= catalogue, "an exemption names no family"
    seen: set[str] = set()
    still = set(MOVING)

    def missing() -> set[str]:
        nonlocal still
        # Some are there at times only: a queue's oldest message while one waits.
        text = _scraped(url)
        seen.update(_with_series(text))
        still &= set(_still(text))
        return catalogue - seen - set(ABSENT)

    wait_until(
        lambda: not missing() and not still,
        FULL_SECONDS,
        lambda: f"without series: {sorted(missing())}; all zero: {sorted(still)}",
    )
    assert not seen & set(ABSENT), "an exemption has series: take it out"


def test_the_worker_in_shifts_leaves_and_its_queue_waits_for_it(url: str) -> None:
    def away() -> bool:
        text = _scraped(url)
        return (
            'celery_worker_up{worker="demo3@sample"} 0' in text
            and 'celery_queue_workers{queue="reports"} 0' in text
            and re.search(r'messages{queue="reports",state="ready",priority="0"} [1-9]', text)
            is not None
        )

    wait_until(away, FULL_SECONDS, lambda: "\n".join(re.findall(r".*reports.*", _scraped(url))))


def test_the_command_that_the_demo_invites_to_works(demo: Process, url: str) -> None:
    assert url
    found = re.search(r"^Try  (z4j-exporter action bulk-retry .*)$", demo.output(), re.MULTILINE)
    assert found, demo.output()
    words = found[1].split()
    done = subprocess.run(
        [COMMAND, *words[1:], "--dry-run"], capture_output=True, text=True, timeout=60, check=False
    )
    # 15: there is nothing to be sent again just now.
    assert done.returncode in (0, 15), done.stderr
    assert "orders.validate" in done.stdout + done.stderr or "nothing" in done.stderr, done


def test_it_leaves_no_token_behind(demo: Process, url: str) -> None:
    assert url
    directory = demo.log.parent
    shown = demo.output() + (directory / "all.log").read_text(errors="replace")
    assert "the staff asked POST" in shown
    assert not re.search(r"z4j_[0-9A-Za-z]{49}", shown)
    demo.signal(signal.SIGTERM)
    assert demo.wait(25) == 0, demo.output()
    assert list((directory / "tmp").iterdir()) == []
