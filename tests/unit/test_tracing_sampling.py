"""Which traces are kept: consistent with OpenTelemetry's samplers, even for uuid4 ids."""

import uuid
from random import Random

import pytest

from z4j_exporter.errors import ConfigError
from z4j_exporter.tracing.sampling import Keep, Ratio, is_random, parse_keep, randomness

RANDOM = Random(7)  # the same ids in each run
UUID4S = [uuid.UUID(int=RANDOM.getrandbits(128), version=4).bytes for _ in range(4000)]
UUID1S = [uuid.UUID(int=(time << 100) | 0x1000_9ABC_0242AC120002).bytes for time in range(4000)]
RATIOS = [0.5, 0.25, 0.1, 1 / 3, 0.001, 1 - 2**-30]


def test_a_uuid4_is_random_and_others_are_not() -> None:
    assert all(map(is_random, UUID4S))
    assert not any(map(is_random, UUID1S))
    assert not is_random(bytes(16))
    # the version alone is not enough: this is what a random trace id looks like now and then
    assert not is_random(bytes.fromhex("f415600d7bb346411a1b09c6a763c75e"))


def test_the_randomness_of_a_uuid4_is_its_low_56_bits() -> None:
    trace = bytes.fromhex("f415600d7bb346419a1b09c6a763c75e")
    assert randomness(trace) == 0x1B09C6A763C75E


@pytest.mark.parametrize("ids", [UUID4S, UUID1S], ids=["uuid4", "uuid1"])
@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.1])
def test_the_part_that_is_kept_is_the_ratio(ids: list[bytes], ratio: float) -> None:
    kept = sum(map(Ratio(ratio).keeps, ids)) / len(ids)
    assert abs(kept - ratio) < 0.03


def test_what_a_small_ratio_keeps_a_larger_one_keeps_too() -> None:
    small, large = Ratio(0.1), Ratio(0.3)
    assert all(large.keeps(trace) for trace in UUID4S + UUID1S if small.keeps(trace))


def test_all_or_nothing() -> None:
    assert all(map(Ratio(1.0).keeps, UUID4S))
    assert Ratio(1.0).keeps_all
    assert not any(map(Ratio(0.0).keeps, UUID4S))
    assert Ratio(1.0).trace_state(UUID4S[0]) == ""


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_sdk_reads_our_tracestate_and_decides_alike(ratio: float) -> None:
    # Private still, but the reference: OpenTelemetry's own implementation of the same document.
    sdk = pytest.importorskip("opentelemetry.sdk.trace._sampling_experimental._trace_state")
    api = pytest.importorskip("opentelemetry.trace")
    ours = Ratio(ratio)
    for trace in (*UUID4S[:300], *UUID1S[:300]):
        told = sdk.OtelTraceState.parse(api.TraceState.from_header([ours.trace_state(trace)]))
        assert told.threshold == (1 << 56) - round(ratio * (1 << 56))
        low_bits = int.from_bytes(trace[-7:])
        value = told.random_value if told.random_value >= 0 else low_bits
        assert (value >= told.threshold) == ours.keeps(trace)


def test_the_tracestate_is_as_short_as_it_may_be() -> None:
    assert Ratio(0.5).trace_state(UUID4S[0]) == "ot=th:8"
    assert Ratio(0.25).trace_state(UUID4S[0]) == "ot=th:c"
    assert Ratio(0.5).trace_state(bytes(15) + b"\1").startswith("ot=th:8;rv:")
    assert len(Ratio(0.5).trace_state(bytes(15) + b"\1")) == len("ot=th:8;rv:") + 14


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["failed", "lost"], Keep(failed=True, lost=True)),
        (["failed,lost,slow:30s"], Keep(failed=True, lost=True, slow=30.0)),
        ([" failed , lost "], Keep(failed=True, lost=True)),
        (["slow:250ms"], Keep(slow=0.25)),
        (["slow:1.5m"], Keep(slow=90.0)),
        (["slow:2h", "slow:30s"], Keep(slow=30.0)),
        (["none"], Keep()),
        ([], Keep()),
    ],
)
def test_rules_are_read(rules: list[str], expected: Keep) -> None:
    assert parse_keep(rules) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "faild",
        "slow",
        "slow:",
        "slow:30",
        "slow:-1s",
        "slow:1d",
        "none,failed",
        "failed,",
        "Slow:1s",
    ],
)
def test_anything_else_is_an_error_that_names_the_option(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"--trace-keep"):
        parse_keep([rule])


def test_a_rule_names_how_it_ended() -> None:
    keep = Keep(failed=True, slow=1.0)
    assert keep.matches("failed", None)
    assert keep.matches("succeeded", 1.1)
    assert not keep.matches("succeeded", 1.0)
    assert not keep.matches("lost", None)
    assert not Keep().matches("failed", 100.0)
