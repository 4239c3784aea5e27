"""Label values: hostile ones, allowed and denied tasks, rewritten workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.exposed import Exposed, parsed, task_event, worker_event
from z4j_exporter.errors import ConfigError
from z4j_exporter.metrics.labels import (
    FILTERED,
    MAX_LABEL_LENGTH,
    TaskLabel,
    WorkerLabel,
    clean,
    compile_pattern,
    escape,
)


@given(value=st.text())
def test_clean_values_are_short_plain_text(value: str) -> None:
    cleaned = clean(value)
    assert len(cleaned) <= MAX_LABEL_LENGTH
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert len(cleaned.splitlines()) <= 1
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("web.visit", "web.visit"),
        ("größe.🦀", "größe.🦀"),
        ('a"b\\c', 'a"b\\c'),
        ("a\nb\r\tc\0", "a\ufffdb\ufffd\ufffdc\ufffd"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("line\u2028line\u2029\x85\x9b", "line\ufffdline\ufffd\ufffd\ufffd"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("", ""),
    ],
)
def test_clean(value: str, cleaned: str) -> None:
    assert clean(value) == cleaned


def test_escape() -> None:
    assert escape('a"b\\c\nd') == 'a\\"b\\\\c\\nd'


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
def test_hostile_names_stay_one_sample_each(profile: str) -> None:
    hostile = '"} 1\ncelery_fake 1\n# '
    exposed = Exposed(profile).play(
        worker_event("heartbeat", hostname=f"w@{hostile}"),
        task_event("sent", name=hostile, queue=hostile, hostname=f"g@{hostile}"),
        task_event("received", 1, name=hostile, hostname=f"w@{hostile}"),
        task_event("failed", 2, exception=f"{hostile}()", hostname=f"w@{hostile}"),
    )
    text = exposed.wait(3).text()
    assert not [line for line in text.splitlines() if line.startswith("celery_fake")]
    names = [dict(labels) for _, labels in parsed(text)]
    label = "name" if profile == "celery-exporter" else "task"
    assert {n[label] for n in names if label in n} == {clean(hostile)}


# -- tasks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "deny", "shown", "filtered"),
    [
        ([], [], ["web.visit", ""], []),
        ([r"web\..*"], [], ["web.visit"], ["xweb.visit", "webvisit", "other"]),
        (["web"], [], ["web"], ["web.visit"]),
        (["web|shop"], [], ["web", "shop"], ["webshop"]),
        ([], [r".*\.tmp_.*"], ["web.visit"], ["web.tmp_1"]),
        ([r"web\..*", "shop"], [r"web\.tmp"], ["web.visit", "shop"], ["web.tmp", "x"]),
        (["(?i)web"], [], ["WEB"], ["shop"]),
    ],
)
def test_allow_and_deny(
    allow: list[str], deny: list[str], shown: list[str], filtered: list[str]
) -> None:
    label = TaskLabel(allow, deny)
    assert [label(name) for name in shown] == shown
    assert [label(name) for name in filtered] == [FILTERED] * len(filtered)


def test_the_patterns_see_the_cleaned_name() -> None:
    assert TaskLabel(deny=["a\ufffdb"])("a\nb") == FILTERED


@pytest.mark.parametrize("profile", ["native", "celery-exporter", "flower"])
def test_filtered_tasks_do_not_use_up_the_cap(profile: str) -> None:
    exposed = Exposed(profile, task_label_deny=["tmp.*"], max_series=30)
    for number in range(200):
        exposed.play(task_event("received", uuid=str(number), name=f"tmp{number}"))
    exposed.play(task_event("received", uuid="last", name="work.add")).wait(70)
    label = "name" if profile == "celery-exporter" else "task"
    names = {dict(labels)[label] for _, labels in exposed.samples() if label in dict(labels)}
    assert names == {FILTERED, "work.add"}
    assert not exposed.profile.store.dropped


# -- workers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "nodename", "label"),
    [
        ([], "w1@host", "w1@host"),
        ([r"(.*)@web-.*=\1@web"], "w1@web-7f9c-x2", "w1@web"),
        ([r"(.*)@web-.*=\1@web"], "w1@db-1", "w1@db-1"),
        ([r"(.*)@web=\1@x"], "w1@web-1", "w1@web-1"),
        (["a=first", ".=second"], "a", "first"),
        (["a=first", ".=second"], "b", "second"),
        ([r"(?P<pool>\w+)@.*=\g<pool>"], "high@x", "high"),
        (["a=b=c"], "a=b", "c"),
        (["gen.*="], "gen1@web", ""),
        ([r"(a)|(b)=\2x"], "a", "x"),
        ([r"(.*)=\1\1"], "x" * 150, "x" * 199 + "…"),
    ],
)
def test_rewriting(rules: list[str], nodename: str, label: str) -> None:
    assert WorkerLabel(rules)(nodename) == label


# -- what a person gets wrong --------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(" * 3000 + ")" * 3000, "[z-a]", "*"])
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"--task-label-allow: .* is not a regular"):
        compile_pattern(pattern, "--task-label-allow")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("nothing", "'nothing' is not PATTERN=REPLACEMENT"),
        ("=x", "'=x' is not PATTERN=REPLACEMENT"),
        ("(=x", "'(' is not a regular expression: missing )"),
        ("a=\\1", "replacement '\\\\1': invalid group reference"),
        ("a=\\g<no>", "replacement '\\\\g<no>': unknown group name 'no'"),
        ("a=\\", "replacement '\\\\': bad escape"),
        ("(?x)a # comment=\\1", "replacement '\\\\1': invalid group reference"),
    ],
)
def test_a_rule_that_is_none(rule: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WorkerLabel([rule])
    assert caught.value.message.startswith(f"--worker-label-rewrite: {message}")
    assert caught.value.hint
