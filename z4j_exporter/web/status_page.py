"""The status page: what an operator asks, in the order of asking. Pure: data in, HTML out."""

from collections.abc import Mapping, Sequence

from z4j_exporter.web import humanize, values
from z4j_exporter.web.chart import bars, in_words
from z4j_exporter.web.frame import Place, document
from z4j_exporter.web.markup import NOTHING, Html, clean, element, join, link, text, wire
from z4j_exporter.web.refresh import Refresh
from z4j_exporter.web.status import Connection, Rate, Status
from z4j_exporter.web.status_tables import losses, queues, workers
from z4j_exporter.web.status_tasks import failures, slowest, stuck
from z4j_exporter.web.tables import facts, section
from z4j_exporter.web.verdict import Verdict, verdict_of

#: States and transitions in the order of a task's life; others follow by name.
_LIFE = (
    "sent", "waiting", "received", "reserved", "started", "running", "succeeded", "failed",
    "retried", "rejected", "revoked", "lost",
)  # fmt: skip


def status_page(status: Status, refresh: Refresh, *, trace_url: str = "") -> bytes:
    """Return the page as UTF-8; ``trace_url`` has ``{trace_id}`` where a trace's id belongs."""
    verdict = verdict_of(status)
    main = join(
        [
            _verdict(status, verdict),
            element("div", _connections(status), _findings(status), class_="pair"),
            _throughput(status),
            element("div", _in_progress(status), _totals(status), class_="pair"),
            queues(status),
            workers(status),
            failures(status, trace_url),
            stuck(status, trace_url),
            slowest(status, trace_url),
            losses(status),
            _about(status),
        ]
    )
    sign = "" if verdict.kind == "ok" else "! "
    place = Place("status", version=status.version, traces=status.traces)
    return document(place, f"{sign}{verdict.headline}", main, refresh=refresh)


def _verdict(status: Status, verdict: Verdict) -> Html:
    reasons = [
        element("li", link(f"#{reason.part}", text(clean(reason.words, 200))))
        for reason in verdict.reasons
    ]
    known_up = (
        f"{humanize.count(status.workers_up)} of {values.plural(status.workers_total, 'worker')} up"
    )
    beside = [
        *([text(known_up)] if status.workers_total else []),
        *([_rate_now(status.rates)] if status.rates else []),
        join([text("lag "), values.duration(status.lag_median_seconds)]),
        join([text("running for "), values.duration(status.uptime_seconds)]),
    ]
    return element(
        "div",
        # Told again by a screen reader when it changes, which the numbers below do all the time.
        element(
            "div",
            element("h1", values.mark(verdict.kind), element("span", text(verdict.headline))),
            element("ul", *reasons) if reasons else NOTHING,
            role="status",
        ),
        element("p", join(beside, " \u00b7 "), class_="beside"),
        *(element("p", wire(note, 300), class_="beside") for note in status.notes),
        class_=f"verdict {verdict.kind}",
    )


def _rate_now(rates: Sequence[Rate]) -> Html:
    ended = [_per_second(rate, rate.succeeded, rate.failed) for rate in rates]
    latest = next((value for value in reversed(ended) if value is not None), None)
    return join([values.decimal(latest), text(" tasks/s ended")])


def _connections(status: Status) -> Html:
    listed = [_connection(connection) for connection in status.connections]
    content = element("ul", *listed, class_="signs") if listed else _empty("Nothing is known yet.")
    return section("connections", "Connections", content)


_CONNECTED = {
    True: ("ok", "connected"),
    False: ("bad", "not connected"),
    None: ("unknown", "not known yet"),
}


def _connection(connection: Connection) -> Html:
    kind, word = _CONNECTED[connection.ok]
    where = [wire(told, 300) for told in (connection.where, connection.detail) if told]
    return element(
        "li",
        values.mark(kind, word),
        element(
            "div",
            element("strong", text(clean(connection.what, 60))),
            text(" "),
            element("span", join(where, " \u00b7 "), class_="where"),
        ),
        data_key=clean(f"{connection.what} {connection.where}", 200),
    )


def _findings(status: Status) -> Html:
    listed = [
        element(
            "li",
            values.mark("bad" if finding.severity == "problem" else "look"),
            element(
                "div",
                element("strong", text(f"{clean(finding.severity, 20).capitalize()}: ")),
                wire(finding.title, 200),
                element("p", wire(finding.text, 1500)),
            ),
            data_key=clean(finding.title, 200),
        )
        for finding in status.findings
    ]
    if listed:
        content = element("ul", *listed, class_="signs")
    elif status.examined:
        content = _empty("The doctor finds nothing wrong.")
    else:
        content = _empty("The doctor has not looked yet.")
    return section("findings", "What the doctor finds", content)


_CHARTS = (
    ("started", "Started", ""),
    ("succeeded", "Succeeded", ""),
    ("failed", "Failed", "bad"),
    ("retried", "Retried", "look"),
)


def _throughput(status: Status) -> Html:
    if not status.rates:
        return section("throughput", "Throughput", _empty("Nothing was counted yet."))
    seconds = sum(rate.seconds for rate in status.rates)
    charts = []
    for name, heading, kind in _CHARTS:
        series = [_per_second(rate, getattr(rate, name)) for rate in status.rates]
        known = [value for value in series if value is not None]
        charts.append(
            element(
                "div",
                element("h3", text(heading)),
                element("p", values.decimal(known[-1] if known else None, " /s"), class_="figure"),
                bars(series, kind=kind, words=in_words(series, seconds, heading)),
                element("p", text("most "), values.decimal(max(known, default=None), " /s")),
                class_="chart",
            )
        )
    beside = join([text("tasks a second, the last "), values.duration(seconds)])
    return section(
        "throughput", "Throughput", element("div", *charts, class_="charts"), beside=beside
    )


def _per_second(rate: Rate, *counts: int | None) -> float | None:
    """Return the sum of counts a second; None where none is known, or for no time."""
    known = [count for count in counts if count is not None]
    return sum(known) / rate.seconds if known and rate.seconds > 0 else None


def _in_progress(status: Status) -> Html:
    content = _figures(status.in_progress)
    if not content:
        known = values.number(status.in_progress_total)
        content = element("p", known, text(" in all; their states are not known."), class_="empty")
        if status.in_progress_total is None:
            content = _empty("Not known.")
    return section("in-progress", "Tasks in progress", content, beside=text("now, by state"))


def _totals(status: Status) -> Html:
    return section(
        "totals",
        "Totals",
        _figures(status.totals) or _empty("Nothing was counted yet."),
        beside=text("transitions since the start"),
    )


def _figures(counts: Mapping[str, int]) -> Html:
    def place(name: str) -> tuple[int, str]:
        return (_LIFE.index(name) if name in _LIFE else len(_LIFE), name)

    if not counts:
        return NOTHING
    return facts(
        ((wire(name, 40), values.number(counts[name])) for name in sorted(counts, key=place)),
        "figures",
    )


def _about(status: Status) -> Html:
    return section(
        "about",
        "This exporter",
        facts(
            [
                (
                    text("Events from"),
                    wire(status.source, 300) if status.source else values.UNKNOWN,
                ),
                (text("State"), wire(status.reason, 400) if status.reason else values.UNKNOWN),
                (text("Lag, median"), values.duration(status.lag_median_seconds)),
                (text("Lag, 99th percentile"), values.duration(status.lag_p99_seconds)),
                (text("Version"), wire(status.version, 40) if status.version else values.UNKNOWN),
                (text("As of"), values.moment(status.taken_at)),
            ],
            "about",
        ),
    )


def _empty(words: str) -> Html:
    return element("p", text(words), class_="empty")
