"""Our matchers against Alertmanager's own: amtool routes the same alerts as we match."""

import json
import random
import subprocess
from pathlib import Path

from tests.support.process import require
from z4j_exporter.actions.alert_matchers import parse

#: What a matcher may be made of; half of the results are no matchers.
LABELS = ["task", "queue", "a_b"]
OPERATORS = ["=", "!=", "=~", "!~"]
VALUES = [
    "shop.pay", '"shop.pay"', '"shop[.].+"', '"a|b"', "", '""', '"a,b"', '"{}"', r'"\""', r'"a\\b"',
    r'"\d+"', '"a', 'a"', '"a"b"', " b ", '".*"', '".+"', '"(?i)SHOP.PAY"', r'"\n"', "a\\", '"ä"',
    '"[^a]*"', '"a{2,3}"', '"x*?"',
]  # fmt: skip
ALERTS = [
    {},
    {"task": "shop.pay"},
    {"task": "a", "queue": "b"},
    {"task": "a,b"},
    {"queue": '"'},
    {"task": "a\\b", "a_b": "aa"},
    {"task": "12", "queue": "\n"},
    {"queue": "ä", "a_b": "xxx"},
]


def test_matchers_match_what_alertmanager_matches(tmp_path: Path) -> None:
    amtool = require("amtool")
    rng = random.Random(4)
    compared = 0
    for number in range(60):
        text = f"{rng.choice(LABELS)}{rng.choice(OPERATORS)}{rng.choice(VALUES)}"
        if number % 4 == 0:
            text = f"{{{text},{rng.choice(LABELS)}{rng.choice(OPERATORS)}{rng.choice(VALUES)}}}"
        conf = tmp_path / "alertmanager.yml"
        conf.write_text(
            "route: {receiver: other, routes: [{receiver: ours, matchers: "
            f"[{json.dumps(text)}]}}]}}\nreceivers: [{{name: ours}}, {{name: other}}]\n"
        )
        check = subprocess.run(
            [amtool, "check-config", str(conf)], capture_output=True, text=True, check=False
        )
        try:
            matchers = parse(text)
        except ValueError:
            assert check.returncode != 0, text
            continue
        assert check.returncode == 0, (text, check.stderr)
        for labels in rng.sample(ALERTS, 2):
            told = subprocess.run(
                [amtool, "config", "routes", "test", "--config.file", str(conf)]
                + [f"{name}={_quoted(value)}" for name, value in labels.items()],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            ours = all(one.matches(labels) for one in matchers)
            assert (told == "ours") is ours, (text, labels)
            compared += 1
    assert compared > 40


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
