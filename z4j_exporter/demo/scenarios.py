"""What the demo's customers do: one scenario for each thing that can happen to a task."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple, Protocol

from celery import chain, chord, group

from z4j_exporter.demo import sample_app as shop

#: Seconds that the mail server is away.
_OUTAGE_SECONDS = 3.0
#: Seconds until a film is cut.
_FILM_DELAY_SECONDS = 8.0
#: Seconds for which a report is of use: at a high rate its queue does not grow without end.
_REPORT_EXPIRES_SECONDS = 120.0


class Later(Protocol):
    """Something that runs an action after a delay."""

    def __call__(self, delay_seconds: float, action: Callable[[], object]) -> None:
        """Run ``action`` in ``delay_seconds``."""


class Scenario(NamedTuple):
    """Something a customer does, over and over."""

    name: str
    #: Tasks it starts, nested ones included, retries not.
    tasks: int
    #: How often it happens, relative to the others.
    weight: float
    #: Call the tasks. All chance comes from the first argument.
    call: Callable[[Random, Later], object]


def _seconds(chance: Random, median: float) -> float:
    """Return a duration that is most often near ``median`` and now and then far above."""
    return round(min(median * 6, chance.lognormvariate(0, 0.6) * median), 3)


def _order(chance: Random, _: Later) -> None:
    # Some can wait: on Redis the priority 0 is served first, and 9 last.
    priority = 9 if chance.random() < 0.1 else 0
    shop.place.apply_async((_seconds(chance, 0.08),), priority=priority)


def _checkout(chance: Random, _: Later) -> None:
    chain(shop.place.s(_seconds(chance, 0.08)), shop.pack.s(), shop.receipt.s()).delay()


def _sale(chance: Random, _: Later) -> None:
    # More at once than the workers can run: the queue wait shows it.
    for _number in range(25):
        shop.place.delay(_seconds(chance, 0.15))


def _gallery(chance: Random, _: Later) -> None:
    group(shop.thumbnail.s(_seconds(chance, 0.2)) for _number in range(4)).delay()


def _album(chance: Random, _: Later) -> None:
    chord([shop.thumbnail.s(_seconds(chance, 0.2)) for _number in range(3)])(shop.album.s())


def _damaged_gallery(chance: Random, _: Later) -> None:
    damaged = chance.randrange(3)
    group(shop.thumbnail.s(_seconds(chance, 0.2), n == damaged) for n in range(3)).delay()


def _damaged_album(chance: Random, _: Later) -> None:
    # The chord's body never runs.
    pictures = [shop.thumbnail.s(_seconds(chance, 0.2), n == 1) for n in range(3)]
    chord(pictures)(shop.album.s())


def _crawl(chance: Random, _: Later) -> None:
    shop.visit.delay(f"page-{chance.randrange(1000)}", _seconds(chance, 0.1))


def _render(chance: Random, _: Later) -> None:
    shop.render.delay(_seconds(chance, 2.0))


def _film(chance: Random, later: Later) -> None:
    # Later: the tour at the start has enough to do for the pool.
    seconds = round(chance.uniform(20, 40), 1)
    later(_FILM_DELAY_SECONDS, lambda: shop.film.delay(seconds))


def _report(chance: Random, _: Later) -> None:
    shop.write.apply_async((_seconds(chance, 0.6),), expires=_REPORT_EXPIRES_SECONDS)


def _remind(chance: Random, _: Later) -> None:
    shop.remind.apply_async(countdown=round(chance.uniform(0.5, 3), 2))


def _publish(chance: Random, _: Later) -> None:
    shop.publish.delay(_seconds(chance, 0.05))


def _mail(chance: Random, _: Later) -> None:
    # On Redis a smaller number is served first.
    shop.send.apply_async((_seconds(chance, 0.05),), priority=chance.choice((0, 3, 6, 9)))


def _newsletter(chance: Random, _: Later) -> None:
    for _number in range(40):
        shop.send.apply_async((_seconds(chance, 0.1),), priority=9)


def _mail_outage(chance: Random, later: Later) -> None:
    shop.MAIL_AWAY.touch()
    later(_OUTAGE_SECONDS, lambda: shop.MAIL_AWAY.unlink(missing_ok=True))
    for _number in range(3):
        later(chance.uniform(0.3, 0.6 * _OUTAGE_SECONDS), lambda: _mail(chance, later))


def _ship(chance: Random, _: Later) -> None:
    shop.ship.delay(chance.choice(("by air", "by sea")))


def _charge(_chance: Random, _: Later) -> None:
    shop.charge.delay()


def _nonsense(chance: Random, _: Later) -> None:
    shop.validate.delay(-chance.randrange(10))


def _missing_page(_chance: Random, _: Later) -> None:
    shop.visit.delay("missing")


def _unreachable_host(_chance: Random, _: Later) -> None:
    shop.visit.delay("unreachable")


def _visit_expires(_chance: Random, _: Later) -> None:
    # Long enough for two attempts, too short for a third.
    shop.visit.apply_async(args=("missing",), expires=1.5 * shop.VISIT_RETRY_SECONDS)


def _busy_warehouse(_chance: Random, _: Later) -> None:
    shop.reserve.delay()


def _change_of_mind(_chance: Random, later: Later) -> None:
    reminder = shop.remind.apply_async(countdown=2)
    later(0.5, reminder.revoke)


def _terminate(_chance: Random, later: Later) -> None:
    encoding = shop.encode.delay(30)
    later(1.5, lambda: encoding.revoke(terminate=True))


def _time_limit(_chance: Random, _: Later) -> None:
    shop.render.apply_async(args=(10,), time_limit=1)


def _lost_process(_chance: Random, _: Later) -> None:
    shop.broken_file.delay()


#: Every scenario. The common ones make the traffic; the rare ones happen once in a while.
SCENARIOS = (
    Scenario("order", 1, 30, _order),
    Scenario("checkout", 3, 10, _checkout),
    Scenario("sale", 25, 1, _sale),
    Scenario("gallery", 4, 4, _gallery),
    Scenario("album", 4, 3, _album),
    Scenario("damaged gallery", 3, 0.7, _damaged_gallery),
    Scenario("damaged album", 3, 0.7, _damaged_album),
    Scenario("crawl", 3, 10, _crawl),
    Scenario("render", 1, 6, _render),
    Scenario("film", 1, 0.35, _film),
    Scenario("report", 1, 14, _report),
    Scenario("remind", 1, 4, _remind),
    Scenario("publish", 9, 2, _publish),
    Scenario("mail", 1, 8, _mail),
    Scenario("newsletter", 40, 0.3, _newsletter),
    Scenario("mail outage", 3, 0.25, _mail_outage),
    Scenario("ship", 1, 4, _ship),
    Scenario("charge", 1, 3, _charge),
    Scenario("nonsense", 1, 2, _nonsense),
    Scenario("missing page", 1, 1, _missing_page),
    Scenario("unreachable host", 1, 1, _unreachable_host),
    Scenario("visit expires", 1, 0.7, _visit_expires),
    Scenario("busy warehouse", 1, 1, _busy_warehouse),
    Scenario("change of mind", 1, 1, _change_of_mind),
    Scenario("terminate", 1, 0.5, _terminate),
    Scenario("time limit", 1, 0.5, _time_limit),
    Scenario("lost process", 1, 0.3, _lost_process),
)
