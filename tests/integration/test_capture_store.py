"""Payloads that must not travel as events: into Redis, for a time, encrypted under a key."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.support import servers
from tests.support.capturing import capturing

SECRET = "correct-horse-battery"


def events_text(shop: Any) -> str:
    return json.dumps([r.event for r in shop.listener.received])


def test_a_stored_payload_is_in_redis_only_and_for_a_time(valkey: servers.Redis) -> None:
    options = {"payload": "store", "store_url": valkey.url, "store_ttl_seconds": 90}
    with capturing(valkey.url, options=options) as shop:
        link = shop.signature("add", 1, 2)
        sent = shop.signature("echo", "not for the stream").apply_async(link=link)
        [envelope] = shop.wait("z4j-envelope", uuid=sent.id)
        assert (envelope["withheld"], envelope["replayable"]) == ("stored", True)
        key = envelope["stored_key"]
        assert key.startswith("z4j:payload:")
        client = valkey.client()
        assert 80 < client.ttl(key) <= 90
        payload = json.loads(client.get(key))
        assert payload["content_type"] == "application/json"
        assert json.loads(payload["body"])[0] == ["not for the stream"]
        assert "not for the stream" not in events_text(shop)
        assert envelope["callbacks"][0]["task"] == "add"
        assert "args" not in envelope["callbacks"][0]  # they do not travel either
        secret = shop.signature("echo", kwargs={"password": SECRET}).apply_async()
        [envelope] = shop.wait("z4j-envelope", uuid=secret.id)
        assert (envelope["withheld"], envelope["replayable"]) == ("redacted", False)
        for stored in client.scan_iter("z4j:payload:*"):
            assert SECRET.encode() not in client.get(stored)


def test_with_a_key_a_redacted_payload_is_kept_encrypted(valkey: servers.Redis) -> None:
    key = Fernet.generate_key()
    options = {"payload": "store", "store_url": valkey.url, "store_key": key.decode()}
    with capturing(valkey.url, options=options) as shop:
        sent = shop.signature("echo", kwargs={"password": SECRET}).apply_async()
        [envelope] = shop.wait("z4j-envelope", uuid=sent.id)
        assert (envelope["withheld"], envelope["replayable"]) == ("stored", True)
        assert envelope["redacted_kwargs"] == {"password": "[redacted]"}
        assert SECRET not in events_text(shop)
        stored = valkey.client().get(envelope["stored_key"])
        assert SECRET.encode() not in stored
        payload = json.loads(Fernet(key).decrypt(stored))
        assert json.loads(payload["body"])[1] == {"password": SECRET}


@pytest.mark.parametrize("key", ["", "no Fernet key"])
def test_a_store_that_hangs_costs_the_payload_only(valkey: servers.Redis, key: str) -> None:
    with servers.valkey() as store:
        options = {"payload": "store", "store_url": store.url, "store_key": key}
        with capturing(valkey.url, options={**options, "timeout_seconds": 0.2}) as shop:
            store.pause()
            began = time.perf_counter()
            sent = [shop.signature("echo", n).apply_async().id for n in range(20)]
            assert time.perf_counter() - began < 2
            shop.wait("z4j-envelope", 20)
            for uuid in sent:
                [envelope] = shop.events("z4j-envelope", uuid=uuid)
                assert (envelope["withheld"], envelope["replayable"]) == ("store_failed", False)
            secret = shop.signature("echo", kwargs={"password": SECRET}).apply_async()
            [envelope] = shop.wait("z4j-envelope", uuid=secret.id)
            assert envelope["withheld"] == "redacted"


def test_without_payloads_nothing_of_the_arguments_travels(valkey: servers.Redis) -> None:
    with capturing(valkey.url, options={"payload": "none"}) as shop:
        link = shop.signature("add", 12345678)
        sent = shop.signature("echo", 12345678).apply_async(link=link)
        [envelope] = shop.wait("z4j-envelope", uuid=sent.id)
        assert (envelope["withheld"], envelope["replayable"]) == ("disabled", False)
        assert envelope["callbacks"][0]["task"] == "add"
        assert "12345678" not in events_text(shop)
