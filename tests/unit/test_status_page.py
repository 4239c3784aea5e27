"""The status page as HTML: what it says, that nothing in it acts, that everybody can read it."""

from dataclasses import replace
from importlib.resources import files

import pytest

from tests.support.html import Page, words
from tests.support.statuses import HOSTILE, TASK, TRACE, first, full, hostile
from z4j_exporter.web.frame import HEADERS
from z4j_exporter.web.refresh import CHOICES, Refresh, chosen
from z4j_exporter.web.status import QueueRow, Status, WorkerRow
from z4j_exporter.web.status_page import status_page
from z4j_exporter.web.verdict import verdict_of

POLICY = dict(HEADERS)[b"content-security-policy"].decode()
WELL = replace(
    first(), ready=True, reason="Connected.", examined=True, workers_total=2, workers_up=2
)


def page(status: Status, seconds: int | None = 5, trace_url: str = "") -> Page:
    made = Page(status_page(status, Refresh(seconds), trace_url=trace_url))
    made.check(POLICY)
    return made


def text(shown: Page, name: str) -> str:
    return words(shown.by_id(name))


def test_everything_an_operator_asks_is_there_in_the_order_of_asking() -> None:
    shown = page(full())
    parts = [each.get("id") for each in shown.all("section")]
    assert parts == [
        "connections", "findings", "throughput", "in-progress", "totals", "queues", "workers",
        "failures", "stuck", "slowest", "losses", "about",
    ]  # fmt: skip
    assert words(shown.one("h1")) == "✕ Something is wrong"
    assert "✓ connected Events (Redis) redis://shop:6379/0 · for 1 d 2 h" in text(
        shown, "connections"
    )
    assert "✕ not connected Traces (OTLP)" in text(shown, "connections")
    assert "? not known yet Journal" in text(shown, "connections")
    assert "Problem: Task events are off mail-2 sends none. Start it with -E." in text(
        shown, "findings"
    )
    assert text(shown, "in-progress").endswith("now, by state waiting 640 running 9")
    assert text(shown, "totals").endswith("sent 1.28 M succeeded 1.28 M failed 2 711 lost 0")
    assert "312" in text(shown, "losses")
    assert "2026-11-20 16:00:00 UTC" in text(shown, "about")


def test_the_verdict_says_what_is_wrong_and_leads_to_it() -> None:
    box = next(each for each in page(full()).all("div") if each.get("role") == "status")
    assert [(words(each), each.get("href")) for each in box.iter() if each.get("href")] == [
        ("Task events are off: mail-2 sends none", "#findings"),
        ("Not connected: Traces (OTLP)", "#connections"),
        ("A queue grows: reports grew", "#findings"),
        ("1 worker down", "#workers"),
        ("312 losses since the start", "#losses"),
    ]
    many = replace(WELL, findings=full().findings[:1] * 3)
    assert [reason.words for reason in verdict_of(many).reasons] == ["3 problems"]


def test_tables_tell_what_is_known_and_say_what_is_not() -> None:
    shown = page(full())
    head, down, busy, unknown = shown.rows("workers")
    assert head == [
        "Worker", "State", "Busy", "Pool", "Processed", "Load", "Heartbeat", "Missing", "Celery",
    ]  # fmt: skip
    assert down[:3] == ["mail-2@h4", "✕ down", "0 of 8"]
    assert down[6:8] == ["3 m 12 s", "— not known"]
    assert busy[1:5] == ["✓ up", "6 of 8", "prefork", "120 k"]
    assert unknown[3:] == ["— not known"] * 6
    head, reports, celery = shown.rows("queues")
    assert head == ["Queue", "Ready", "Unacked", "Oldest", "Workers", "Processes"]
    assert reports == ["reports ! nobody consumes", "640", "4", "3 m 12 s", "0", "0"]
    assert celery == ["celery", "0", "— not known", "— not known", "2", "16"]


def test_tasks_whose_states_nobody_had_time_to_look_at_are_told_in_all() -> None:
    shown = page(replace(full(), in_progress={}, in_progress_total=123_456))
    told = text(shown, "in-progress")
    assert told.endswith("123 k in all; their states are not known.")
    assert text(page(first()), "in-progress").endswith("Not known.")


def test_failures_lead_to_their_traces() -> None:
    shown = page(full(), trace_url="https://tempo.example/t/{trace_id}?a=1&b=2")
    rows = shown.rows("failures")
    assert rows[1] == [
        "shop.pay", "✕ ValueError", "3.0 s ago", "2", "web-1@h1", "celery", TASK, "trace open ↗",
    ]  # fmt: skip
    assert rows[2][-1] == "— not known"
    assert f"traces/{TRACE}" in shown.links()
    assert f"https://tempo.example/t/{TRACE}?a=1&b=2" in shown.links()


def test_links_are_relative_since_a_proxy_may_stand_before_us() -> None:
    outside = [link for link in page(full()).links() if link.startswith(("/", "http"))]
    assert outside == ["https://github.com/z4j/z4j-exporter/blob/main/docs/README.md"]
    assert {"metrics", "traces", "-/healthy", "-/ready"} <= set(page(full()).links())
    assert "traces" not in page(replace(full(), traces=False)).links()


def test_numbers_have_their_exact_value_beside() -> None:
    shown = page(full())
    sent = next(each for each in shown.all("data") if each.get("value") == "1284113")
    assert sent.get("title") == "1\u202f284\u202f113"
    times = {each.get("datetime") for each in shown.all("time")}
    assert {"PT192.400S", "2026-11-20T16:00:00Z", "2026-11-20T15:59:57Z"} <= times


def test_bars_are_said_in_words_and_a_gap_is_no_zero() -> None:
    drawings = [each for each in page(full()).all("svg") if each.get("role") == "img"]
    said = [each.get("aria-label", "") for each in drawings]
    assert said[0] == (
        "Started a second over the last 1\u202fm 0\u202fs: latest 4.5, least 4.0, most 4.5"
    )
    assert said[3] == "Retried: not known"
    bars = [sum(rect.get("class") == "bar" for rect in each) for each in drawings]
    assert bars == [6, 5, 3, 0]


def test_the_first_second_has_no_numbers_that_nobody_knows() -> None:
    shown = page(first())
    assert words(shown.one("h1")) == "✕ Something is wrong"
    assert "Not connected yet." in shown.text
    assert shown.all("data") == []
    assert shown.all("table") == []
    assert "The doctor has not looked yet." in text(shown, "findings")
    assert "Nothing was lost." in text(shown, "losses")
    assert "— not known" in text(shown, "about")


@pytest.mark.parametrize(
    ("change", "kind", "headline", "parts"),
    [
        ({}, "ok", "All is well", []),
        ({"examined": False}, "ok", "Nothing wrong seen yet", []),
        ({"ready": False}, "bad", "Something is wrong", ["connections"]),
        ({"workers_up": 1}, "look", "Worth a look", ["workers"]),
        ({"queues_ok": False}, "look", "Worth a look", ["queues"]),
        ({"findings": full().findings[1:]}, "look", "Worth a look", ["findings"]),
        ({"findings": full().findings}, "bad", "Something is wrong", ["findings", "findings"]),
        ({"connections": full().connections}, "look", "Worth a look", ["connections"]),
        ({"losses": full().losses}, "ok", "All is well", ["losses"]),
    ],
)
def test_the_verdict(change: dict[str, object], kind: str, headline: str, parts: list[str]) -> None:
    status = replace(WELL, **change)  # type: ignore[arg-type]  # fields of several types
    verdict = verdict_of(status)
    assert (verdict.kind, verdict.headline) == (kind, headline)
    assert [reason.part for reason in verdict.reasons] == parts
    title = words(page(status).one("title"))
    assert title == f"{'' if kind == 'ok' else '! '}{headline} · z4j-exporter"


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_text_acts_whatever_it_is(evil: str) -> None:
    made = status_page(hostile(evil), Refresh(5), trace_url="https://t.example/{trace_id}")
    shown = Page(made)
    shown.check(POLICY)
    assert len(shown.all("script")) == 1, "our own"
    assert shown.all("b") == shown.all("img") == []
    outside = {link for link in shown.links() if "://" in link}
    assert all(link.startswith(("https://t.example/", "https://github.com/")) for link in outside)
    words_only = shown.text.replace("\n", "")
    assert [c for c in words_only if not c.isprintable() and c != "\u202f"] == []
    assert len(made) < 120_000


def test_a_name_that_is_cut_says_more_in_its_tooltip() -> None:
    name = "shop." + "x" * 600
    shown = page(replace(full(), queues=[QueueRow(name, 1, 1, 1.0, 1, 1, 1)]))
    cell = next(
        each for each in shown.by_id("queues").iter() if each.get("title", "")[:5] == name[:5]
    )
    assert words(cell) == f"{name[:119]}…"
    assert cell.get("title") == f"{name[:499]}…"


def test_five_hundred_workers_stay_readable() -> None:
    rows = [WorkerRow(f"w{i}@h", True, 1, 2, "prefork", 1, 1.0, 1.0, 0) for i in range(50)]
    shown = page(replace(full(), workers=rows, workers_total=500, workers_up=500))
    assert "50 of 500" in text(shown, "workers")
    assert len(shown.rows("workers")) == 51
    assert "50 of" not in text(page(replace(full(), workers=rows, workers_total=50)), "workers")


@pytest.mark.parametrize("seconds", CHOICES)
def test_it_renews_itself_with_and_without_a_script(seconds: int | None) -> None:
    shown = page(full(), seconds)
    again = [each.get("content") for each in shown.all("meta") if each.get("http-equiv")]
    assert again == ([str(seconds)] if seconds else [])
    assert len(shown.all("script")) == (1 if seconds else 0)
    assert shown.by_id("main").get("data-refresh") == str(seconds or 0)
    current = [words(each) for each in shown.all("a") if each.get("aria-current") == "true"]
    assert current == [f"{seconds} s" if seconds else "off"]
    assert {"./?refresh=5", "./?refresh=15", "./?refresh=60", "./?refresh=off"} <= set(
        shown.links()
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", Refresh(5)),
        (b"refresh=15&x=1", Refresh(15)),
        (b"refresh=off", Refresh(None)),
        (b"refresh=None", None),
        (b"refresh=", None),
        (b"refresh=0", None),
        (b"refresh=5%22%3E", None),
        (b"refresh=\xff", None),
        (b"a=1&" * 30, None),
    ],
)
def test_only_what_is_offered_can_be_chosen(query: bytes, expected: Refresh | None) -> None:
    assert chosen(query) == expected


def _colours(block: str) -> dict[str, str]:
    pairs = (each.partition(":") for each in block.replace("{", ";").split(";"))
    return {
        name.strip(): value.strip() for name, _, value in pairs if name.strip().startswith("--")
    }


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * each for each in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_can_be_read_on_every_ground(scheme: str) -> None:
    style = files("z4j_exporter.web").joinpath("page.css").read_text("utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    colours = _colours(light if scheme == "light" else dark.partition("*")[0])
    assert len(colours) == 11
    for ground, texts in {
        "--paper": ("--ink", "--quiet", "--accent", "--look", "--bad"),
        "--panel": ("--accent",),
        "--accent-soft": ("--ink", "--accent", "--quiet"),
        "--look-soft": ("--ink", "--look"),
        "--bad-soft": ("--ink", "--bad"),
    }.items():
        for colour in texts:
            assert _contrast(colours[ground], colours[colour]) >= 4.5, (ground, colour)
