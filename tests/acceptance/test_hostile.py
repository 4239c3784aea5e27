"""The installed exporter among hostile publishers: all is counted, nothing grows or breaks."""

import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from tests.support import servers
from tests.support.counted import samples
from tests.support.hostile import Hostile, all_kinds, label_bombs, task, wrapped
from tests.support.process import require, wait_until
from tests.support.servers import Exporter, Redis

#: Series that a family may have; the exporter is started with it.
MAX_SERIES = 1000
#: Distinct names of each kind.
BOMBS = 20_000
#: Resident MB beyond those of an exporter that has seen nothing; the events of the storm that
#: are tracked and the series that the cap allows account for about half of it.
MAX_GROWTH_MB = 400

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def publish(server: Redis, messages: Iterable[Hostile]) -> int:
    """Publish all; return how many events and refusals they must be counted as."""
    client = server.client()
    total = 0
    pending = 0
    pipe = client.pipeline(transaction=False)
    for message in messages:
        pipe.publish("/0.celeryev/task.multi", message.payload)
        total += message.count
        pending += len(message.payload)
        if pending > 4_000_000:
            pipe.execute()
            pending = 0
    pipe.execute()
    return total


def total(found: Samples, name: str) -> float:
    return sum(value for (sample, _), value in found.items() if sample == name)


def accounted(exporter: Exporter) -> float:
    names = ["celery_exporter_events_total", "celery_exporter_events_refused_total"]
    answer = exporter.get("/metrics", params={"name[]": names}, timeout=30)
    found = samples(answer.raise_for_status().text)
    return sum(total(found, name) for name in names)


def resident_mb(exporter: Exporter) -> float:
    status = Path(f"/proc/{exporter.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def wait_accounted(exporter: Exporter, expected: float) -> None:
    wait_until(
        lambda: accounted(exporter) >= expected,
        120,
        lambda: f"{accounted(exporter)} of {expected}: {exporter.output()[-2000:]}",
        every=0.2,
    )
    assert accounted(exporter) == expected


def good(exporter: Exporter, server: Redis, number: int) -> None:
    """A sound event among all the others is counted where it belongs."""
    event = task("sent", f"good-{number}", name="shop.good", queue="shop", hostname="gen1@h")
    server.client().publish("/0.celeryev/task.sent", wrapped(event))
    key = ("celery_task_sent_total", (("queue", "shop"), ("task", "shop.good")))
    query = {"name[]": "celery_task_sent_total"}
    wait_until(lambda: samples(exporter.scrape(params=query, timeout=30)).get(key) == number, 30)


@pytest.fixture(scope="module")
def stormed() -> Any:
    """An exporter that has been through it; what it had to account for, and its growth in MB."""
    with (
        servers.valkey("--client-output-buffer-limit", "pubsub", "0", "0", "0") as server,
        servers.exporter("--broker-url", server.url, "--max-series", str(MAX_SERIES)) as exporter,
    ):
        good(exporter, server, 1)
        before = resident_mb(exporter)
        expected = 1 + publish(server, all_kinds(seed=1, bombs=BOMBS))
        wait_accounted(exporter, expected)
        yield server, exporter, resident_mb(exporter) - before


@pytest.fixture(scope="module")
def found(stormed: Any) -> Samples:
    """What a scrape shows after the storm."""
    _, exporter, _ = stormed
    return samples(exporter.scrape(timeout=30))


def test_it_was_a_storm(stormed: Any, found: Samples) -> None:
    _, exporter, _ = stormed
    assert accounted(exporter) > 100_000
    refused = Counter(
        {
            dict(labels)["reason"]: value
            for (name, labels), value in found.items()
            if name == "celery_exporter_events_refused_total"
        }
    )
    assert all(refused.values()), f"each reason is met: {refused}"
    assert total(found, "celery_exporter_events_dropped_total") == 0
    assert total(found, "celery_exporter_sink_errors_total") == 0
    assert total(found, "celery_exporter_source_gaps_total") == 0


def test_memory_is_bounded(stormed: Any) -> None:
    server, exporter, growth_mb = stormed
    assert growth_mb < MAX_GROWTH_MB
    # The same again, under new names: what was remembered makes room.
    before = resident_mb(exporter)
    expected = accounted(exporter)
    renamed = (
        Hostile(message.payload.replace(b"bomb-", b"bomb2"), message.count)
        for message in label_bombs(random.Random(2), BOMBS // 4)
    )
    expected += publish(server, renamed)
    wait_accounted(exporter, expected)
    assert resident_mb(exporter) - before < MAX_GROWTH_MB / 4


def test_the_caps_on_series_hold(found: Samples) -> None:
    per_family = Counter(
        name
        for name, labels in found
        if name.startswith("celery_task_") and not name.endswith("_bucket")
    )
    # One overflow series for each value of a fixed label.
    assert max(per_family.values()) <= MAX_SERIES + 20, per_family.most_common(3)
    assert total(found, "celery_exporter_series_dropped_total") > BOMBS / 2
    assert any(("task", "__overflow__") in labels for _, labels in found)


def test_a_good_event_is_counted_after_it(stormed: Any) -> None:
    server, exporter, _ = stormed
    good(exporter, server, 2)
    assert exporter.get("/-/ready").status_code == 200
    assert exporter.get("/-/healthy").status_code == 200


@pytest.mark.parametrize(
    ("accept", "parse"),
    [
        ("text/plain", text_format),
        ("application/openmetrics-text; version=1.0.0", openmetrics),
    ],
)
def test_both_formats_can_be_read(
    stormed: Any, accept: str, parse: Callable[[str], Iterable[Any]]
) -> None:
    _, exporter, _ = stormed
    answer = exporter.get("/metrics", headers={"Accept": accept}, timeout=30)
    assert answer.headers["content-type"].startswith(accept.partition(";")[0])
    values = [
        value
        for family in parse(answer.text)
        for sample in family.samples
        for value in sample.labels.values()
    ]
    assert len(values) > MAX_SERIES
    assert max(map(len, values)) <= 250
    assert not any(ord(character) < 32 for value in values for character in value)


def test_promtool_has_nothing_to_say(stormed: Any) -> None:
    _, exporter, _ = stormed
    text = exporter.scrape(timeout=30)
    checked = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.stdout, checked.stderr, checked.returncode) == ("", "", 0)


def test_the_log_is_short_and_clean(stormed: Any) -> None:
    _, exporter, _ = stormed
    log = exporter.output()
    assert "Traceback" not in log
    assert len(log) < 20_000
    assert "\x1b" not in log


def test_it_ends_in_order(stormed: Any) -> None:
    _, exporter, _ = stormed
    exporter.signal(15)
    assert exporter.wait(10) == 0
