"""The pages in a real browser: those of the installed exporter beside a real worker, and worse."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from celery import Celery
from playwright.sync_api import Browser, Page

from tests.support import servers
from tests.support.browser import chromium, overflow, save, tab, violations
from tests.support.celeryapp import client
from tests.support.process import wait_until
from tests.support.statuses import HOSTILE, full, hostile
from tests.support.web import pages, serving
from z4j_exporter.web.pages import Pages
from z4j_exporter.web.status import QueueRow, Status, WorkerRow

#: Seconds in which a page that renews itself every 5 must have done so, on a loaded machine.
SOON = 20.0
WORKER = "w1@browser"


@dataclass
class Shop:
    """A running exporter, with a worker that does what is asked of it."""

    url: str
    app: Celery

    def add(self, count: int) -> None:
        for number in range(count):
            self.app.send_task("math.add", (number, number))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    more = ("--trace-memory-spans", "1000", "--queue-poll-interval", "1")
    with (
        servers.valkey() as broker,
        servers.exporter("--broker-url", broker.url, *more) as exporter,
        servers.worker("tests.support.celeryapp", broker.url, "-Q", "celery,web", nodename=WORKER),
    ):
        made = Shop(exporter.url, client(broker.url))
        made.app.send_task("web.visit", ("http://shop/missing",))
        made.add(3)
        wait_until(lambda: figure_of(exporter.get("/").text, "failed") == 1, 30)
        wait_until(lambda: ">trace</a>" in exporter.get("/").text, 30)
        yield made
        made.app.close()


def figure_of(html: str, name: str) -> int | None:
    """Return a total from the page's source."""
    _, found, rest = html.partition(f"<dt><bdi>{name}</bdi></dt>")
    return int(rest.partition('value="')[2].partition('"')[0]) if found else None


def total(page: Page, name: str) -> int:
    shown = page.locator("#totals dl > div", has=page.locator("dt", has_text=name)).locator("data")
    return int(shown.first.get_attribute("value") or -1)


@pytest.mark.parametrize("scripts", [True, False])
def test_counts_go_up_by_themselves(browser: Browser, shop: Shop, scripts: bool) -> None:
    with tab(browser, java_script_enabled=scripts) as page:
        page.goto(shop.url)
        assert page.locator("#workers tbody th").all_inner_texts() == [WORKER]
        assert page.locator("h1").inner_text().split() != []
        before = total(page, "succeeded")
        if scripts:
            page.evaluate("window.mark = 'the same document'")
        shop.add(7)
        wait_until(lambda: total(page, "succeeded") == before + 7, SOON)
        if scripts:
            assert page.evaluate("window.mark") == "the same document"


def test_off_means_off(browser: Browser, shop: Shop) -> None:
    with tab(browser) as page:
        page.goto(shop.url)
        page.get_by_role("navigation", name="Refresh").get_by_role("link", name="off").click()
        assert page.url == f"{shop.url}/?refresh=off"
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(6500)
        assert asked == []


def test_a_failure_leads_to_its_trace(browser: Browser, shop: Shop) -> None:
    with tab(browser) as page:
        page.goto(shop.url)
        row = page.locator("#failures tbody tr").first
        assert "HTTPError" in row.inner_text()
        row.get_by_role("link", name="Trace").click()
        assert page.locator("h1").inner_text() == "web.visit"
        assert page.locator("#spans tbody tr").count() == 8
        assert page.locator("#spans svg.waterfall.bad").count() == 1
        save(page, "trace")
        page.get_by_role("link", name="Traces", exact=True).click()
        assert page.locator("h1").inner_text() == "Latest traces"
        page.locator("tbody").get_by_role("link", name="web.visit").click()
        page.get_by_role("link", name="Status", exact=True).click()
        assert page.url == f"{shop.url}/"


def test_what_one_reads_stays_where_it_is(browser: Browser, shop: Shop) -> None:
    with tab(browser, width=400, height=500) as page:
        page.goto(shop.url)
        link = page.locator("#failures").get_by_role("link", name="Trace").first
        link.focus()
        page.evaluate("document.activeElement.dataset.mark = 'the same element'")
        place, told = page.evaluate("window.scrollY"), page.locator("#about").inner_text()
        assert place > 0
        wait_until(lambda: page.locator("#about").inner_text() != told, SOON)
        assert page.evaluate("document.activeElement.getAttribute('href')").startswith("traces/")
        assert page.evaluate("document.activeElement.closest('section').id") == "failures"
        assert abs(page.evaluate("window.scrollY") - place) < 60


def test_an_exporter_that_is_away_is_told_of_and_so_is_its_return(
    browser: Browser, shop: Shop
) -> None:
    with tab(browser) as page:
        page.goto(shop.url)
        page.context.set_offline(True)
        notice = page.locator("#notice")
        wait_until(lambda: "cannot be reached since" in notice.inner_text(), SOON)
        assert page.locator("main.stale").count() == 1
        assert WORKER in page.locator("#workers").inner_text()
        save(page, "stale")
        page.context.set_offline(False)
        wait_until(lambda: notice.inner_text() == "", SOON)
        assert page.locator("main.stale").count() == 0


def test_a_hidden_tab_asks_for_nothing(browser: Browser, shop: Shop) -> None:
    hide = (
        "hidden => { Object.defineProperty(document, 'hidden',"
        " {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    with tab(browser) as page:
        page.goto(shop.url)
        page.evaluate(hide, True)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(6500)
        assert asked == []
        page.evaluate(hide, False)
        wait_until(lambda: page.wait_for_timeout(50) or asked, 3)


def test_every_link_is_reached_by_keyboard_and_seen(browser: Browser, shop: Shop) -> None:
    with tab(browser) as page:
        page.goto(f"{shop.url}/?refresh=off")
        expected = page.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        reached = []
        for _ in expected:
            page.keyboard.press("Tab")
            focus = page.evaluate(
                "() => { const e = document.activeElement, s = getComputedStyle(e),"
                " r = e.getBoundingClientRect();"
                " return [e.getAttribute('href'), s.outlineStyle, parseFloat(s.outlineWidth),"
                " r.top >= 0 && r.bottom <= innerHeight + 1 && r.width > 0]; }"
            )
            reached.append(focus[0])
            assert focus[1:] == ["solid", 2, True], focus
        assert reached == expected
        page.goto(f"{shop.url}/?refresh=off")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_everybody_can_use_it(browser: Browser, shop: Shop, scheme: str, width: int) -> None:
    with (
        serving(with_status(full())) as listener,
        tab(browser, scheme=scheme, width=width, bypass_csp=True) as page,
    ):
        page.goto(shop.url)
        trace = page.locator("#failures").get_by_role("link").first.get_attribute("href")
        for url in (shop.url, listener.url, f"{shop.url}/traces", f"{shop.url}/{trace}"):
            page.goto(url)
            assert violations(page) == [], url


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_stands_out_of_the_window(browser: Browser, shop: Shop, width: int) -> None:
    with tab(browser, width=width) as page:
        page.goto(shop.url)
        trace = page.locator("#failures").get_by_role("link").first.get_attribute("href")
        for name, path in (("status", "/"), ("traces", "/traces"), ("one", f"/{trace}")):
            page.goto(shop.url + path)
            assert overflow(page) <= 0, path
            save(page, f"{name}-{width}")


def with_status(status: Status) -> Pages:
    made = pages()
    return Pages(made.exposition, made.healthy, made.ready, status=lambda: status)


def many() -> Status:
    workers = [
        WorkerRow(f"worker-{i}@" + "host" * 10, i % 9 > 0, i % 8, 8, "prefork", i, 1.0, 1.0, 0)
        for i in range(50)
    ]
    queues = [QueueRow("queue_" * 15 + str(i), i, i, 1.0, 1, 8, 1) for i in range(50)]
    return replace(
        full(), workers=workers, workers_total=500, workers_up=444, queues=queues, queues_total=1000
    )


@pytest.mark.parametrize("width", [320, 1280])
def test_hostile_and_endless_names_neither_act_nor_stand_out(browser: Browser, width: int) -> None:
    for number, status in enumerate([many(), *map(hostile, HOSTILE)]):
        with serving(with_status(status)) as listener, tab(browser, width=width) as page:
            page.goto(listener.url)
            assert page.locator("section").count() == 12
            assert overflow(page) <= 0, number
            save(page, f"hostile-{number}-{width}")


def test_on_paper_there_is_no_navigation(browser: Browser, shop: Shop) -> None:
    with tab(browser) as page:
        page.goto(shop.url)
        page.emulate_media(media="print")
        assert not page.get_by_role("navigation", name="Refresh").is_visible()
        assert page.locator("#workers").is_visible()
        save(page, "print")
