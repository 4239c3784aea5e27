"""Services are named by what processes have in common, not by worker."""

import pytest

from z4j_exporter.errors import ConfigError
from z4j_exporter.tracing.services import Services


@pytest.mark.parametrize(
    ("nodename", "service"),
    [
        ("celery@web-7f9c", "celery"),
        ("worker1@host", "worker"),
        ("worker-12@host", "worker"),
        ("mail_3@host", "mail"),
        ("w.01@host", "w"),
        ("shop.eu@host", "shop.eu"),
        ("v2beta@host", "v2beta"),
        ("42@host", "celery-worker"),
        ("@host", "celery-worker"),
        ("", "celery-worker"),
        ("noat7", "noat"),
    ],
)
def test_a_workers_service_is_its_name_without_a_number(nodename: str, service: str) -> None:
    assert Services().worker(nodename, 1).service == service


def test_the_first_rule_that_matches_the_whole_nodename_names_it() -> None:
    services = Services([r"shop-\d+@.*=shop", r"(\w+)@(eu|us)-.*=\1-\2", ".*=rest"])
    assert services.worker("shop-12@a", None).service == "shop"
    assert services.worker("mail@eu-3", None).service == "mail-eu"
    assert services.worker("xshop-12@a", None).service == "rest"


def test_a_pattern_may_hold_an_equals_sign() -> None:
    assert Services([r"(?=shop).*=s"]).worker("shop1@a", None).service == "s"


def test_a_client_that_nothing_is_known_of_is_a_producer() -> None:
    assert Services().producer("gen7@web", 7, None).service == "celery-producer"
    assert Services().producer("", None, None).service == "celery-producer"
    assert Services(["gen.*@web=site"]).producer("gen7@web", 7, None).service == "site"
    assert Services().producer("beat@host", 7, None).service == "beat"


def test_a_client_within_a_task_is_of_its_workers_service() -> None:
    services = Services(["gen.*=site", "shop.*=shop"])
    source = services.producer("gen7@h", 7, "shop1@h")
    assert (source.service, source.nodename, source.pid) == ("shop", "gen7@h", 7)
    assert services.producer("gen7@h", 7, None).service == "site"


def test_a_worker_has_one_source() -> None:
    services = Services()
    assert services.worker("w1@h", 1) is services.worker("w1@h", 1)
    assert services.worker("w1@h", 1) != services.worker("w1@h", 2)


def test_names_from_the_wire_are_made_safe() -> None:
    source = Services().worker("w\x1b[31m\ud800@h", None)
    assert source.nodename == "w\ufffd[31m\ufffd@h"
    source.service.encode()


@pytest.mark.parametrize("rule", ["shop", "=shop", "shop=", "(=x", r"a=\1", r"a=\g<b>"])
def test_a_rule_that_cannot_be_read_is_an_error_that_names_the_option(rule: str) -> None:
    with pytest.raises(ConfigError, match="--trace-service"):
        Services([rule])
