"""The preview of a dashboard draws values as Grafana does: decimals, one query's table, minus."""

import re
from typing import Any

import pytest

from tools.preview_charts import format_value, lines, number, table

SPAN = (0.0, 100.0)


def panel(**defaults: Any) -> dict[str, Any]:
    return {"fieldConfig": {"defaults": defaults, "overrides": []}, "options": {}}


def vector(value: str, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [100, value]}


def test_decimals_are_kept_to() -> None:
    answers = [({"refId": "A"}, [vector("2.0339")])]
    assert ">2<" in number(panel(unit="short", decimals=0), answers, 100, 100, SPAN)
    assert ">2.034<" in number(panel(unit="short"), answers, 100, 100, SPAN)


@pytest.mark.parametrize(("queries", "name"), [(1, "Value"), (2, "Value #A")])
def test_the_only_query_of_a_table_has_no_letter(queries: int, name: str) -> None:
    organize = {"renameByName": {"task": "Task", name: "Ended"}}
    board = panel() | {
        "transformations": [
            {"id": "joinByField", "options": {"byField": "task"}},
            {"id": "organize", "options": organize},
        ]
    }
    answers = [({"refId": "AB"[i]}, [vector("7", task="shop.pay")]) for i in range(queries)]
    drawn = table(board, answers, 100, 100, SPAN)
    assert re.findall(r"<td[^>]*>(.*?)</td>", drawn) == ["shop.pay", "7"]


def test_lines_below_zero_stay_within_the_picture() -> None:
    values = [[at, str(value)] for at, value in ((0, -4), (50, 2), (100, -1))]
    answers = [({"refId": "A"}, [{"metric": {}, "values": values}])]
    drawn = lines(panel(unit="s"), answers, 400, 200, SPAN)
    heights = [float(y) for y in re.findall(r"[\d.]+,(-?[\d.]+)", drawn.split("points=")[1])]
    assert min(heights) == 0
    assert heights.index(max(heights)) == 0, "the lowest value is the lowest point"
    assert max(heights) <= 200 - 52
    assert ">-4 s<" in drawn


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.25, "percentunit", "25%"), (90, "s", "1.5 min"), (float("inf"), "s", "∞"), (0, "s", "0 s")],
)
def test_units(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text
