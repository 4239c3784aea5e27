"""The rules file: dry runs by default, nothing but the fields there are, one clear sentence."""

from pathlib import Path

import pytest

from z4j_exporter.actions.alert_rules import parse, read
from z4j_exporter.actions.alert_schema import BulkRetryAction, duration
from z4j_exporter.errors import ConfigError, FileError

PROJECT = Path(__file__).resolve().parents[2]


def rule(text: str = "", *, name: str = "r", action: str = "verb: bulk-retry, task: t") -> str:
    return f"rules: [{{name: {name}, matchers: [a=b], action: {{{action}}}{text}}}]"


def test_defaults_are_careful() -> None:
    (one,) = parse(rule(), name="f")
    assert not one.enabled
    assert (one.cooldown, one.max_per_hour, one.max_in_flight) == (3600, 10, 1)
    assert (one.breaker.failures, one.breaker.half_open_after) == (3, 1800)
    assert isinstance(one.action, BulkRetryAction)
    assert (one.action.state, one.action.since, one.action.max) == ("failed", 3600, 100)


def test_all_fields() -> None:
    (one,) = parse(
        """
        rules:
          - name: full
            matchers: ['a=b', 'c=~"d|e", f!=g']
            enabled: true
            tasks: [shop.*]
            queues: [shop]
            cooldown: 1h30m
            max_per_hour: 5
            max_in_flight: 2
            breaker: {failures: 4, half_open_after: 90s}
            action:
              verb: bulk-retry
              task: "{{ labels.task }}"
              queue: "{{ labels.queue }}"
              exception: ConnectionError
              state: lost
              since: 1d
              max: 7
        """,
        name="f",
    )
    assert one.enabled
    assert [str(matcher) for matcher in one.matchers] == ['a="b"', 'c=~"d|e"', 'f!="g"']
    assert (one.cooldown, one.breaker.half_open_after) == (5400, 90)
    assert isinstance(one.action, BulkRetryAction)
    assert (one.action.since, one.action.max) == (86_400, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no keys"),
        ("- a", "has no keys"),
        ("rules: [", "is not valid YAML"),
        ("rules: 7", "rules"),
        ("rules: []", "rules"),
        ("rules: [7]", "rule 1"),
        ("x: 1\n" + rule(), "f: x: is not known here"),
        (rule(", name: s"), "a key is there twice"),
        (rule(name="a b"), "a name has 1 to 64"),
        (rule(", cool: 1h"), "rule 1 (r), cool: is not known here"),
        (rule(", enabled: yes"), "write true or false"),
        (rule(", cooldown: 1x"), "write a duration"),
        (rule(", cooldown: 31d"), "rule 1 (r), cooldown"),
        (rule(", cooldown: -1s"), "write a duration"),
        (rule(", max_per_hour: -1"), "max_per_hour"),
        (rule(", breaker: {failures: 0}"), "breaker, failures"),
        (rule(", tasks: []"), "write a list of globs"),
        (rule(action="verb: bulk-retry"), "action, task: Field required"),
        (rule(action="task: t"), "verb must be retry, bulk-retry or cancel"),
        (rule(action="verb: do, task: t"), "verb must be retry, bulk-retry or cancel"),
        (rule(action="verb: bulk-retry, task: t, since: 8d"), "action, since"),
        (rule(action="verb: bulk-retry, task: t, since: 0s"), "action, since"),
        (rule(action="verb: bulk-retry, task: t, max: 10001"), "action, max"),
        (rule(action="verb: bulk-retry, task: t, state: succeeded"), "action, state"),
        (rule(action="verb: bulk-retry, task: t, state: revoked"), "action, state"),
        (rule(action="verb: bulk-retry, task: '{{ labels.a | b }}'"), "only be labels.NAME"),
        (rule(action="verb: retry, task_id: t, task: t"), "action, task: is not known here"),
        # a scope that nobody could check
        (rule(", tasks: ['u']"), "task is not among the rule's tasks"),
        (rule(", tasks: ['u']", action="verb: bulk-retry, task: 'x*'"), "has a pattern already"),
        (rule(", queues: ['q']"), "with queues, the action needs a queue"),
        (rule(", queues: ['q']", action="verb: bulk-retry, task: t, queue: p"), "not among"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, name="f")
    assert said in error.value.message
    assert error.value.message.startswith("f")


@pytest.mark.parametrize(
    "action",
    [
        "verb: terminate, task_id: t",
        "verb: purge, queue: q",
        "verb: retry-group, group_id: g",
        "verb: cancel, task_id: t, terminate: true",
        "verb: cancel, task_id: t, signal: SIGKILL",
        "verb: cancel, task_id: t, terminate: '{{ labels.really }}'",
    ],
)
def test_alerts_never_terminate_or_purge(action: str) -> None:
    with pytest.raises(ConfigError, match="never terminates or purges"):
        parse(rule(", enabled: true", action=action), name="f")


@pytest.mark.parametrize("field", ["args", "kwargs"])
def test_alerts_never_say_with_what_a_task_is_called(field: str) -> None:
    action = f"verb: retry, task_id: t, {field}: '{{{{ labels.x }}}}'"
    with pytest.raises(ConfigError, match="an alert never says with what a task is called"):
        parse(rule(action=action), name="f")


@pytest.mark.parametrize("matchers", ["[]", "''", "[7, {}]", "[a]", "[a!=b]", "[a=~.*]", "[a=]"])
def test_matchers_must_match_something_certain(matchers: str) -> None:
    text = f"rules: [{{name: r, matchers: {matchers}, action: {{verb: bulk-retry, task: t}}}}]"
    with pytest.raises(ConfigError, match="rule 1 "):
        parse(text, name="f")


def test_two_rules_of_one_name() -> None:
    one = rule()[len("rules: [") : -1]
    with pytest.raises(ConfigError, match="two rules have the same name"):
        parse(f"rules: [{one}, {one}]", name="f")


def test_the_place_is_told_by_number_and_name() -> None:
    good, bad = rule()[len("rules: [") : -1], rule(", x: 1", name="s")[len("rules: [") : -1]
    with pytest.raises(ConfigError, match=r"f: rule 2 \(s\), x"):
        parse(f"rules: [{good}, {bad}]", name="f")


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("1h30m", 5400), ("1d1s", 86_401), ("2m", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1.5h", "s", "1m1h", "1w", "٣m", None, []])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="write a duration"):
        duration(text)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        read(tmp_path / "missing")
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"rules: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(path)
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="more than"):
        read(path)


def test_the_examples_are_right_and_dry() -> None:
    rules = read(PROJECT / "examples" / "rules.yaml")
    assert len(rules) == 4
    assert not any(one.enabled for one in rules)
